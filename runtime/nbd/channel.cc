#include "runtime/nbd/channel.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>

namespace dadi::nbd {
namespace {

Moved moved(ssize_t count, short events) {
  using Status = Moved::Status;
  if (count > 0) return {Status::kOk, static_cast<std::size_t>(count), 0};
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) return {Status::kWouldBlock, 0, events};
  return {Status::kClosed, 0, 0};
}

class PlainChannel final : public Channel {
 public:
  explicit PlainChannel(int socket) : socket_(socket) {}

  Moved receive(std::span<std::byte> into) override {
    return moved(::recv(socket_, into.data(), into.size(), MSG_DONTWAIT), POLLIN);
  }

  Moved send(std::span<const iovec> pieces) override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(pieces.data());  // NOLINT(cppcoreguidelines-pro-type-const-cast): only read
    message.msg_iovlen = pieces.size();
    return moved(::sendmsg(socket_, &message, MSG_NOSIGNAL | MSG_DONTWAIT), POLLOUT);
  }

 private:
  int socket_;
};

}  // namespace

std::unique_ptr<Channel> plain_channel(int socket) {
  return std::make_unique<PlainChannel>(socket);
}

}  // namespace dadi::nbd
