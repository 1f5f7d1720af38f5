// Who we are to registries: auth.json of the containers tools, Docker's config.json, and its credential helpers.
// Formats: containers-auth.json(5); Docker's "config.json" and its protocol of credential helpers.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libformat/base/result.h"

namespace dadi::registry {

// Secret: never in a message. A value type.
struct Credential {
  std::string user;
  std::string password;
  std::string identity_token;  // in place of user and password

  std::string basic() const;  // "Basic …"
};

// Asks the credential helper of that name for a server's credential. None: it knows no such server.
using AskHelper = std::function<Result<std::optional<Credential>>(const std::string& name, const std::string& server)>;

// The credential for HOST/REPOSITORY ("docker.io" for Docker's own). Of one file the longest key that names the
// repository, a folder above it, or the host counts, then its helper for the host, then its store; of several files the
// first that has one. A file that does not exist has none.
// Errors: corruption (a file that is not what it should be; its content is not shown), denied, host_lacks (a helper
// that does not run).
Result<std::optional<Credential>> find_credential(const std::vector<std::filesystem::path>& files,
                                                  const AskHelper& ask_helper, const std::string& host,
                                                  const std::string& repository);

// Writes the credential for `key` (HOST or HOST/PATH) into the file, which is made, for its owner alone, when missing;
// all else in it stays. Errors: corruption, denied, io.
Result<void> store_credential(const std::filesystem::path& file, const std::string& key, const Credential& credential);

// Takes it out again. False: the file has none.
Result<bool> erase_credential(const std::filesystem::path& file, const std::string& key);

std::string base64_encode(std::string_view bytes);
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace dadi::registry
