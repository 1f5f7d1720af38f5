// What an image was built for, and which of several images serves a wish.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libformat/base/result.h"

namespace dadi::oci {

struct Platform {
  std::string os;
  std::string architecture;
  std::string variant;     // "v8"; often empty
  std::string os_version;  // Windows
  std::vector<std::string> os_features;

  // "linux/arm64/v8".
  std::string to_string() const;

  friend bool operator==(const Platform&, const Platform&) = default;
};

// "linux/arm64/v8", "linux/amd64", "arm64" (linux is meant); usual other names (x86_64, aarch64, armhf) are understood.
// Errors: invalid_argument.
Result<Platform> parse_platform(std::string_view text);

// The one that this program was built for.
Platform host_platform();

// The same platform by the names that Go gives it: lower case, no alias, and an empty variant where it is the usual one
// (arm64's v8, amd64's v1; but arm's v7 is written out).
Platform normalized(Platform platform);

// How well an image for `candidate` serves somebody who wants `wanted`: 0 exactly, more for an older variant of the
// same architecture (arm v6 where v7 is wanted), none when it does not run there. As containerd's strict matcher does;
// the OS's version and features do not count.
std::optional<unsigned> match_rank(const Platform& wanted, const Platform& candidate);

}  // namespace dadi::oci
