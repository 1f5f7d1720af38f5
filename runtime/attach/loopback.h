// TCP on this host alone.
#pragma once

#include <string>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"

namespace dadi::attach {

struct LoopbackSocket {
  UniqueFd socket;      // listening, non-blocking
  std::string address;  // "127.0.0.1:9400": as bound
};

// Listens on "ADDRESS:PORT" or "[ADDRESS]:PORT", numbers all of it; port 0 takes a free one. What it serves is for
// anybody who can connect, so only loopback addresses will do.
// Errors: invalid_argument (malformed, or not loopback), busy (the port is taken), denied, io.
Result<LoopbackSocket> listen_on_loopback(const std::string& address);

}  // namespace dadi::attach
