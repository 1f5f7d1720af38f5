#include "runtime/nbd/server.h"

#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <system_error>

namespace dadi::nbd {
namespace {

constexpr int kOutOfRoom = 100;  // milliseconds without accepting, when there are no more file descriptors

void set(int socket, int level, int option, int value) {
  ::setsockopt(socket, level, option, &value, sizeof value);
}

bool is_tcp(int socket) {
  int domain = 0;
  socklen_t size = sizeof domain;
  return ::getsockopt(socket, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain != AF_UNIX;
}

// Signals are for the program's own threads.
void block_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace

Server::Server(std::vector<Export> exports, std::vector<UniqueFd> listening, const Workers& workers,
               ServerOptions options, UniqueFd wake)
    : exports_(std::move(exports)),
      listening_(std::move(listening)),
      workers_(workers),
      options_(std::move(options)),
      wake_(std::move(wake)) {}

Result<std::unique_ptr<Server>> Server::start(std::vector<Export> exports, std::vector<UniqueFd> listening,
                                              const Workers& workers, ServerOptions options) {
  if (exports.empty()) return Error::invalid_argument("no export to serve");
  UniqueFd wake(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake) return Error::from_errno(errno, "eventfd");
  std::unique_ptr<Server> server(
      new Server(std::move(exports), std::move(listening), workers, std::move(options), std::move(wake)));
  try {
    server->accepting_ = std::thread([&self = *server] { self.accept_clients(); });
  } catch (const std::system_error& error) {
    return Error::exhausted("no thread for the server: {}", error.what());
  }
  return server;
}

Server::~Server() {
  stop();
}

void Server::stop() {
  std::call_once(stopped_, [this] {
    if (!accepting_.joinable()) return;
    stopping_ = true;
    ::eventfd_write(wake_.get(), 1);
    accepting_.join();
    {
      const std::lock_guard lock(mutex_);
      for (Client& client : clients_) client.connection->stop();
    }
    // The accepting thread is gone: nobody else touches the list.
    for (Client& client : clients_) client.thread.join();
    const std::lock_guard lock(mutex_);
    clients_.clear();
  });
}

std::size_t Server::clients() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::ranges::count(clients_, false, &Client::ended));
}

void Server::tell(Error error) const {
  if (options_.observer) options_.observer(error);
}

void Server::accept_clients() {
  block_signals();
  ::pthread_setname_np(::pthread_self(), "nbd-accept");
  std::vector<pollfd> fds;
  for (const UniqueFd& fd : listening_) fds.push_back({fd.get(), POLLIN, 0});
  fds.push_back({wake_.get(), POLLIN, 0});
  while (true) {
    if (::poll(fds.data(), fds.size(), -1) < 0) continue;
    eventfd_t count = 0;
    if (fds.back().revents != 0) ::eventfd_read(wake_.get(), &count);
    reap();
    if (stopping_) break;
    for (std::size_t i = 0; i + 1 < fds.size(); ++i) {
      if (fds[i].revents != 0) accept_from(fds[i].fd);
    }
  }
  listening_.clear();
}

void Server::accept_from(int listening) {
  UniqueFd socket(::accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      tell(Error::from_errno(errno, "a client cannot be let in"));
      ::poll(nullptr, 0, kOutOfRoom);
    }
    return;
  }
  if (auto admitted = admit(std::move(socket)); !admitted) tell(std::move(admitted).error());
}

Result<void> Server::admit(UniqueFd socket) {
  std::string name = fmt::format("client {}", ++accepted_);
  const bool tcp = is_tcp(socket.get());
  if (tcp) {
    set(socket.get(), IPPROTO_TCP, TCP_NODELAY, 1);
    set(socket.get(), SOL_SOCKET, SO_KEEPALIVE, 1);
  }
  const Connection::Environment environment{.workers = workers_,
                                            .limits = options_.limits,
                                            .observer = options_.observer,
                                            .tls = tcp ? options_.tls.get() : nullptr};
  const std::lock_guard lock(mutex_);
  if (clients_.size() >= options_.limits.connections)
    return Error::exhausted("{}: turned away: there are {} clients already", name, clients_.size());
  DADI_TRY(auto connection, Connection::handshake(std::move(socket), std::move(name), exports_, environment));
  const auto client = clients_.insert(clients_.end(), Client{std::move(connection), {}, false});
  try {
    client->thread = std::thread([this, client] { serve(client); });
  } catch (const std::system_error& error) {
    clients_.erase(client);
    return Error::exhausted("no thread for a client: {}", error.what());
  }
  return {};
}

void Server::serve(Clients::iterator client) {
  block_signals();
  ::pthread_setname_np(::pthread_self(), "nbd-client");
  client->connection->serve();
  const std::lock_guard lock(mutex_);
  client->ended = true;
  ::eventfd_write(wake_.get(), 1);
}

// Clears up after clients that have ended.
void Server::reap() {
  Clients ended;
  {
    const std::lock_guard lock(mutex_);
    for (auto client = clients_.begin(); client != clients_.end();) {
      const auto next = std::next(client);
      if (client->ended) ended.splice(ended.end(), clients_, client);
      client = next;
    }
  }
  for (Client& client : ended) client.thread.join();
}

}  // namespace dadi::nbd
