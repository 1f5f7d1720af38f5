#include "runtime/attach/control.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace dadi::attach {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kLongestReply = 1 << 20;
constexpr int kBacklog = 64;
constexpr std::chrono::milliseconds kLookForStop{100};

// An address of a socket is short, paths are not: it is reached through its folder, which is opened first.
struct SocketAddress {
  UniqueFd folder;
  sockaddr_un address{};
};

Result<SocketAddress> address_of(const std::filesystem::path& path) {
  SocketAddress result;
  result.folder = UniqueFd(::open(path.parent_path().c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!result.folder) return Error::from_errno(errno, path.parent_path().string());
  const std::string name = fmt::format("/proc/self/fd/{}/{}", result.folder.get(), path.filename().string());
  if (name.size() >= sizeof(result.address.sun_path))
    return Error::invalid_argument("{}: too long a name", path.string());
  result.address.sun_family = AF_UNIX;
  name.copy(result.address.sun_path, name.size());
  return result;
}

}  // namespace

Result<void> wait_for(int fd, short events, const Patience& patience) {
  for (;;) {
    if (patience.stop.stop_requested()) return Error::cancelled("stopped");
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(patience.end - Clock::now());
    if (left.count() <= 0) return Error::unavailable("no answer in time");
    pollfd entry{.fd = fd, .events = events, .revents = 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::min(left, kLookForStop).count()));
    if (ready > 0) return {};
    if (ready < 0 && errno != EINTR) return Error::from_errno(errno, "wait for an answer");
  }
}

namespace {

Result<void> send_all(int fd, std::string_view text, const Patience& patience) {
  while (!text.empty()) {
    const ssize_t n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      text.remove_prefix(static_cast<std::size_t>(n));
    } else if (errno == EAGAIN) {
      DADI_CHECK(wait_for(fd, POLLOUT, patience));
    } else if (errno != EINTR) {
      return Error::unavailable("{}", Error::from_errno(errno, "ask").message());
    }
  }
  return {};
}

Result<std::string> receive_line(int fd, const Patience& patience) {
  std::string line;
  while (line.find('\n') == std::string::npos) {
    if (line.size() > kLongestReply) return Error::corruption("too long an answer");
    DADI_CHECK(wait_for(fd, POLLIN, patience));
    char buffer[4096];
    const ssize_t n = ::recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n > 0) {
      line.append(buffer, static_cast<std::size_t>(n));
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
      return Error::unavailable("dadid went away without an answer");
    }
  }
  return line.substr(0, line.find('\n'));
}

}  // namespace

Result<UniqueFd> listen_on(const std::filesystem::path& path) {
  DADI_TRY(const SocketAddress place, address_of(path));
  if (::unlinkat(place.folder.get(), path.filename().c_str(), 0) != 0 && errno != ENOENT) {
    return Error::from_errno(errno, "remove " + path.string());
  }
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return Error::from_errno(errno, "make a socket");
  // A socket's file gets the mode that the socket has when it is bound.
  if (::fchmod(fd.get(), 0600) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&place.address), sizeof place.address) != 0) {
    return Error::from_errno(errno, "bind " + path.string());
  }
  if (::listen(fd.get(), kBacklog) != 0) return Error::from_errno(errno, "listen on " + path.string());
  return fd;
}

Result<Json> ask(const std::filesystem::path& socket, const Json& request, const Patience& patience) {
  DADI_TRY(const SocketAddress place, address_of(socket));
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return Error::from_errno(errno, "make a socket");
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&place.address), sizeof place.address) != 0) {
    if (errno == ECONNREFUSED || errno == ENOENT) return Error::not_found("nobody listens on {}", socket.string());
    return Error::from_errno(errno, "connect to " + socket.string());
  }
  DADI_CHECK(send_all(fd.get(), request.dump() + '\n', patience));
  DADI_TRY(const std::string line, receive_line(fd.get(), patience));
  Json reply = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!reply.is_object()) return Error::corruption("dadid answered what is no JSON object");
  if (const auto error = reply.find("error"); error != reply.end()) return error_of(*error);
  return reply;
}

}  // namespace dadi::attach
