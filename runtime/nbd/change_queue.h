// What a client writes, zeroes and trims, one after the other by one thread: a device does one at a time anyhow, and
// threads that wait for each other cost more than they do.
#pragma once

#include <deque>
#include <memory>
#include <mutex>

#include "runtime/nbd/job.h"

namespace dadi::nbd {

// Of one connection. Owned by its transmission and by the thread that works on it: the client may be gone by then.
class ChangeQueue : public std::enable_shared_from_this<ChangeQueue> {
 public:
  explicit ChangeQueue(const Workers& workers) : workers_(workers) {}

  // Done after what was added before, by a thread that may wait. Thread-safe.
  void add(std::shared_ptr<Job> job);

 private:
  void work();

  const Workers workers_;
  std::mutex mutex_;
  std::deque<std::shared_ptr<Job>> jobs_;  // guarded by mutex_
  bool working_ = false;                   // guarded by mutex_
};

}  // namespace dadi::nbd
