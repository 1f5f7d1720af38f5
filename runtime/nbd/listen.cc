#include "runtime/nbd/listen.h"

#include <fmt/core.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace dadi::nbd {
namespace {

constexpr int kBacklog = 64;

Result<UniqueFd> open_socket(int family) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return Error::from_errno(errno, "socket");
  return fd;
}

// Makes way at `path`: what is left of a server that is gone is removed.
Result<void> make_way(const sockaddr_un& address) {
  struct stat status {};
  if (::lstat(address.sun_path, &status) != 0) return {};
  if (!S_ISSOCK(status.st_mode)) return Error::invalid_argument("{} exists, and is no socket", address.sun_path);
  DADI_TRY(const UniqueFd probe, open_socket(AF_UNIX));
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 || errno != ECONNREFUSED)
    return Error::busy("{}: somebody listens there", address.sun_path);
  if (::unlink(address.sun_path) != 0) return Error::from_errno(errno, address.sun_path);
  return {};
}

}  // namespace

Result<UniqueFd> listen_unix(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string& text = path.native();
  if (text.empty() || text.size() >= sizeof address.sun_path)
    return Error::invalid_argument("{}: a socket's path has 1 to {} bytes", text, sizeof address.sun_path - 1);
  std::memcpy(address.sun_path, text.data(), text.size());
  DADI_CHECK(make_way(address));
  DADI_TRY(UniqueFd fd, open_socket(AF_UNIX));
  // Set beforehand, the mode is the file's from its first moment on.
  if (::fchmod(fd.get(), 0600) != 0 ||
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(fd.get(), kBacklog) != 0)
    return Error::from_errno(errno, text);
  return fd;
}

Result<UniqueFd> listen_tcp(const std::string& address, std::uint16_t port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  if (const int failed = ::getaddrinfo(address.c_str(), fmt::format("{}", port).c_str(), &hints, &list); failed != 0)
    return Error::invalid_argument("{}: {}", address, ::gai_strerror(failed));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> found(list, &::freeaddrinfo);
  DADI_TRY(UniqueFd fd, open_socket(found->ai_family));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd.get(), kBacklog) != 0)
    return Error::from_errno(errno, fmt::format("{} port {}", address, port));
  return fd;
}

std::uint16_t port_of(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  if (address.ss_family == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return 0;
}

}  // namespace dadi::nbd
