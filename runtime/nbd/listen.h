// Sockets that clients connect to.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"

namespace dadi::nbd {

// A Unix socket at `path`, for its owner alone (mode 0600). A socket there that nobody listens on is replaced.
// Errors: invalid_argument (the path is too long for a socket, or something else is there), busy (somebody listens),
// those of the system.
Result<UniqueFd> listen_unix(const std::filesystem::path& path);

// A TCP socket. `address`: numeric, or a name; `port` 0 has the system pick one.
// Errors: invalid_argument (no such address), those of the system.
Result<UniqueFd> listen_tcp(const std::string& address, std::uint16_t port);

// The port that a TCP socket listens on. 0: not a TCP socket.
std::uint16_t port_of(int socket);

}  // namespace dadi::nbd
