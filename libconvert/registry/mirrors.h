// Where else images of a registry may be had: [[registry]] and [[registry.mirror]] of the containers tools'
// registries.conf. Format: containers-registries.conf(5), version 2.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "libformat/base/result.h"

namespace dadi::registry {

// A repository that may answer for another.
struct Place {
  std::string host, repository;
  bool may_lack_tls = false;  // "insecure": HTTP, where TLS is not spoken. TLS that is spoken is verified all the same

  bool operator==(const Place&) const = default;
};

// The places to ask for HOST/REPOSITORY, in that order; the last is the repository itself, or its `location`. Of all
// tables in the files the one with the longest `prefix` counts; of two with the same, that which was read last. Files
// that do not exist say nothing.
// Errors: corruption (a file that is no such TOML), denied (the registry is blocked; a file that cannot be read).
Result<std::vector<Place>> places_to_pull(const std::vector<std::filesystem::path>& files, const std::string& host,
                                          const std::string& repository, bool by_digest);

}  // namespace dadi::registry
