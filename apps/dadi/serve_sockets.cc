#include "apps/dadi/serve_sockets.h"

#include <fmt/core.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>

#include "runtime/nbd/listen.h"

namespace dadi {
namespace {

constexpr const char* kLoopback = "127.0.0.1";

// As a part of a URI.
std::string percent_encoded(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("-._~/").find(c) != std::string_view::npos;
    encoded += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return encoded;
}

std::string unix_uri(const std::string& path, const std::string& export_name) {
  return fmt::format("nbd+unix:///{}?socket={}", percent_encoded(export_name), percent_encoded(path));
}

// The address that a socket has, numeric.
std::string host_of(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  std::array<char, NI_MAXHOST> host{};
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0 ||
      ::getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host.data(), host.size(), nullptr, 0,
                    NI_NUMERICHOST) != 0)
    return kLoopback;
  const std::string text = host.data();
  if (text == "0.0.0.0" || text == "::") return kLoopback;  // every address, this one too
  return text.find(':') == std::string::npos ? text : fmt::format("[{}]", text);
}

std::string path_of(int socket) {
  sockaddr_un address{};
  socklen_t size = sizeof address;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0 || address.sun_family != AF_UNIX)
    return {};
  return address.sun_path;
}

Result<std::uint16_t> parse_port(const std::string& text) {
  std::uint16_t port = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), port);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size())
    return Error::invalid_argument("--port {}: not a port", text);
  return port;
}

// A new folder that nobody else can enter: in the user's runtime folder, or among temporary files.
Result<std::filesystem::path> private_folder() {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  std::filesystem::path base = runtime != nullptr && *runtime != '\0' ? runtime : "/run";
  base /= "dadi";
  struct stat status {};
  const bool usable = (::mkdir(base.c_str(), 0700) == 0 || errno == EEXIST) && ::stat(base.c_str(), &status) == 0 &&
                      S_ISDIR(status.st_mode) && status.st_uid == ::geteuid();
  std::string pattern = (usable ? base / "serve-XXXXXX" : std::filesystem::temp_directory_path() / "dadi-serve-XXXXXX");
  if (::mkdtemp(pattern.data()) == nullptr) return Error::from_errno(errno, pattern);
  return std::filesystem::path(pattern);
}

}  // namespace

ListeningPlace ListeningPlace::of(UniqueFd socket, const ListenOptions& options) {
  ListeningPlace place;
  place.port_ = nbd::port_of(socket.get());
  place.path_ = place.port_ == 0 ? path_of(socket.get()) : "";
  place.uri_ = place.port_ == 0 ? unix_uri(place.path_, options.export_name)
                                : fmt::format("{}://{}:{}/{}", options.tls ? "nbds" : "nbd", host_of(socket.get()),
                                              place.port_, percent_encoded(options.export_name));
  place.socket_ = std::move(socket);
  return place;
}

Result<ListeningPlace> ListeningPlace::open(const ListenOptions& options) {
  if (!options.port.empty()) {
    DADI_TRY(const std::uint16_t port, parse_port(options.port));
    DADI_TRY(UniqueFd socket, nbd::listen_tcp(options.bind.empty() ? kLoopback : options.bind, port));
    return of(std::move(socket), options);
  }
  std::vector<std::filesystem::path> made;
  std::filesystem::path path = options.socket;
  if (path.empty()) {
    DADI_TRY(const auto folder, private_folder());
    path = folder / "socket";
    made = {path, folder};
  } else {
    path = std::filesystem::absolute(path);
    made = {path};
  }
  DADI_TRY(UniqueFd socket, nbd::listen_unix(path));
  ListeningPlace place = of(std::move(socket), options);
  place.made_ = std::move(made);
  return place;
}

ListeningPlace::~ListeningPlace() {
  std::error_code ignored;
  for (const auto& path : made_) std::filesystem::remove(path, ignored);
}

}  // namespace dadi
