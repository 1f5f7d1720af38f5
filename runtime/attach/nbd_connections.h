// The connections of a kernel nbd device, from the side that serves them.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"
#include "runtime/nbd/connection.h"
#include "runtime/nbd/export.h"
#include "runtime/worker_pool.h"

namespace dadi::attach {

// A pair of connected sockets.
struct SocketPair {
  UniqueFd ours;
  UniqueFd kernels;

  static Result<SocketPair> make();
};

// Serves each connection of a device in a thread of its own. One that breaks, because the kernel gave up a request that
// took too long, is replaced by a new one, as long as the device is there. Thread-compatible.
class NbdConnections {
 public:
  // What the connections' threads call; each thread-safe. They may not call back into NbdConnections.
  struct Callbacks {
    // Gives the device a socket for a connection that died. Errors: not_found (the device is gone), others (try again).
    std::function<Result<void>(int socket)> reconnect;
    // The device is gone, and its last connection with it. Called at most once.
    std::function<void()> gone;
    // Told of connections that broke.
    std::function<void(std::string_view)> log;
  };

  // `writer` is of the same device; null: read-only.
  NbdConnections(std::shared_ptr<const BlockReader> device, std::shared_ptr<BlockWriter> writer, std::string name,
                 Callbacks callbacks);
  // Stops.
  ~NbdConnections();
  NbdConnections(const NbdConnections&) = delete;
  NbdConnections& operator=(const NbdConnections&) = delete;

  // Serves `count` connections: over `sockets`, which are in the transmission phase, and those that there are not
  // enough sockets for over new ones. REQUIRES: none is being served.
  void start(std::vector<nbd::Handover> sockets, std::size_t count);

  // Stops serving at a boundary between requests, and gives back the sockets; requests that are in flight are answered
  // before. Connections that cannot be brought to that in time are left out: closed, for the kernel to ask again.
  std::vector<nbd::Handover> pause();

  // Answers what is in flight, for a while, and closes all sockets.
  void stop();

 private:
  enum class Phase { kServing, kPausing, kStopping };
  struct Slot {
    std::optional<nbd::Handover> socket;          // not being served; this and the next guarded by mutex_
    std::unique_ptr<nbd::Connection> connection;  // being served
    std::thread thread;
  };

  void serve(Slot& slot);
  bool serve_once(Slot& slot);
  bool reconnect(Slot& slot, std::chrono::milliseconds delay);
  void end(Phase phase);
  void slot_is_gone();

  const std::string name_;
  const Callbacks callbacks_;
  const nbd::Limits limits_;
  const nbd::Observer observer_;  // none: failed reads are the device's to tell
  runtime::WorkerPool computing_;
  runtime::WorkerPool waiting_;
  const nbd::Export served_;
  std::mutex mutex_;
  std::condition_variable wake_;    // the phase changed
  Phase phase_ = Phase::kStopping;  // guarded by mutex_
  std::size_t gone_ = 0;            // slots that found the device gone; guarded by mutex_
  std::list<Slot> slots_;
};

}  // namespace dadi::attach
