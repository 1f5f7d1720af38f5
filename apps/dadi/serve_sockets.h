// Where `dadi serve` listens.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"

namespace dadi {

// What the user asks for. At most one of socket and port is given.
struct ListenOptions {
  std::string socket;       // path of a Unix socket; empty and no port: a private one is made
  std::string port;         // TCP; "0": any that is free
  std::string bind;         // address for TCP; empty: the loopback
  std::string export_name;  // for the URI
  bool tls = false;         // over TCP
};

// A socket that listens, and how clients find it. Removes on its end what it made in the file system.
class ListeningPlace {
 public:
  // Errors: invalid_argument (options that contradict each other, or no address), those of listen_unix, listen_tcp.
  static Result<ListeningPlace> open(const ListenOptions& options);
  // A socket that somebody else made. `options`: of them, only the name and tls.
  static ListeningPlace of(UniqueFd socket, const ListenOptions& options);
  ListeningPlace(ListeningPlace&&) noexcept = default;
  ListeningPlace& operator=(ListeningPlace&&) = delete;
  ~ListeningPlace();

  UniqueFd take_socket() { return std::move(socket_); }
  const std::string& uri() const { return uri_; }
  // Empty where there is none.
  const std::string& path() const { return path_; }
  unsigned port() const { return port_; }  // 0: no TCP

 private:
  ListeningPlace() = default;

  UniqueFd socket_;
  std::string uri_;
  std::string path_;
  unsigned port_ = 0;
  std::vector<std::filesystem::path> made_;  // removed in this order
};

}  // namespace dadi
