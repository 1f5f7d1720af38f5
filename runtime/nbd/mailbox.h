// Where workers leave what they have finished for the thread that serves a client, and wake it.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"

namespace dadi::nbd {

struct Job;

// Thread-safe: any number of threads leave jobs, one takes them. Shared by the connection and its jobs, so that a
// client may vanish while its requests are still being worked on.
class Mailbox {
 public:
  // Errors: those of eventfd.
  static Result<std::shared_ptr<Mailbox>> create();

  void leave(std::shared_ptr<Job> job);
  // Wakes the taker without a job.
  void wake();

  // Everything that is there. For the taker, once poll saw fd() readable or at any other time.
  std::vector<std::shared_ptr<Job>> take();
  bool empty() const { return !full_.load(std::memory_order_acquire); }

  // Nobody takes any more: what is there, and what comes, is let go. Jobs hold their mailbox, so that without this the
  // two would keep each other.
  void close();

  // Readable when something was left since the last call of quiet().
  int fd() const { return event_.get(); }
  void quiet();

 private:
  explicit Mailbox(UniqueFd event) : event_(std::move(event)) {}

  const UniqueFd event_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<Job>> jobs_;  // this and the next guarded by mutex_
  bool closed_ = false;
  std::atomic<bool> full_ = false;
};

}  // namespace dadi::nbd
