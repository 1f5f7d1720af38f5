// An NBD server: listens, and serves every client in a thread of its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"
#include "runtime/nbd/connection.h"
#include "runtime/nbd/export.h"
#include "runtime/nbd/tls.h"

namespace dadi::nbd {

struct ServerOptions {
  Limits limits{};
  Observer observer;                // may be empty
  std::unique_ptr<TlsContext> tls;  // for clients that come over TCP, which then must use it
};

// Serves from start() until stop() or the end. A client can harm none but itself: it has limits (see Limits), and
// nothing that it does ends the server. Thread-safe.
class Server {
 public:
  // `exports`: at least one; the first is the default. `listening`: sockets that listen, as from listen_unix().
  // `workers` must outlive the server and what clients that vanished have left with them.
  // Errors: those of the system.
  static Result<std::unique_ptr<Server>> start(std::vector<Export> exports, std::vector<UniqueFd> listening,
                                               const Workers& workers, ServerOptions options);
  // Stops.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Lets nobody in any more, has what is in flight answered (for at most limits.grace) and the clients disconnected.
  void stop();

  std::size_t clients() const;

 private:
  struct Client {
    std::unique_ptr<Connection> connection;
    std::thread thread;
    bool ended = false;  // guarded by mutex_
  };
  using Clients = std::list<Client>;

  Server(std::vector<Export> exports, std::vector<UniqueFd> listening, const Workers& workers, ServerOptions options,
         UniqueFd wake);

  void accept_clients();
  void accept_from(int listening);
  Result<void> admit(UniqueFd socket);
  void serve(Clients::iterator client);
  void reap();
  void tell(Error error) const;

  const std::vector<Export> exports_;
  std::vector<UniqueFd> listening_;  // closed by the accepting thread when it ends
  const Workers workers_;
  const ServerOptions options_;
  const UniqueFd wake_;  // an eventfd: a client has ended, or the server is to
  std::atomic<bool> stopping_ = false;
  std::size_t accepted_ = 0;  // by the accepting thread: names clients
  mutable std::mutex mutex_;
  Clients clients_;  // guarded by mutex_
  std::once_flag stopped_;
  std::thread accepting_;
};

}  // namespace dadi::nbd
