// The protocol of Docker's credential helpers.
#pragma once

#include <optional>
#include <string>

#include "libconvert/registry/credentials.h"

namespace dadi {

// Runs `docker-credential-NAME get` with the server on its standard input. None: the helper knows no such server.
// Errors: host_lacks (it cannot be run), corruption (its answer).
Result<std::optional<registry::Credential>> ask_helper(const std::string& name, const std::string& server);

}  // namespace dadi
