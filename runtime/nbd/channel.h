// The bytes between server and client, without waiting for any: a socket, or TLS on one.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace dadi::nbd {

// How far a call came.
struct Moved {
  enum class Status {
    kOk,
    kWouldBlock,
    kClosed,  // by the client, or broken
  };
  Status status = Status::kOk;
  std::size_t bytes = 0;  // more than none if kOk
  short events = 0;       // if kWouldBlock: what poll must wait for before the call can go on
};

// One thread.
class Channel {
 public:
  virtual ~Channel() = default;
  // REQUIRES: neither is empty.
  virtual Moved receive(std::span<std::byte> into) = 0;
  virtual Moved send(std::span<const iovec> pieces) = 0;
  // Whether receive() has bytes that poll does not see.
  virtual bool buffered() const { return false; }
  // Why it was closed, where that is known and no mere hanging up.
  virtual std::string failure() const { return {}; }
  // Says good-bye, as far as that goes without waiting.
  virtual void close() {}
};

// `socket` is borrowed, and must not block.
std::unique_ptr<Channel> plain_channel(int socket);

}  // namespace dadi::nbd
