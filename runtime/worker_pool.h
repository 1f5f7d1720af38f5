// Threads that do what the thread which serves a client must not: wait for a disk or a network, or keep a core busy.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>

namespace dadi::runtime {

// Runs tasks in the order in which they were submitted, on at most `most` threads. A thread is started when a task
// finds none idle, and ends when it had nothing to do for a while: an idle pool has no threads.
//
// Tasks that wait and tasks that compute belong into pools of their own, so that no computation waits behind a wait.
// Thread-safe.
class WorkerPool {
 public:
  using Task = std::function<void()>;

  // `name` shows in lists of threads, up to 15 bytes of it. REQUIRES: most > 0.
  WorkerPool(std::string name, std::size_t most);
  // Runs what was submitted, and waits for it.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // `task` must not throw. Where the host gives no thread at all, the caller runs it.
  void submit(Task task);

  std::size_t threads() const;

 private:
  using Threads = std::list<std::thread>;

  bool start_thread();
  void work(Threads::iterator self);
  static void join(Threads threads);

  const std::string name_;
  const std::size_t most_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;  // a task came, a thread ended, or the end
  std::deque<Task> tasks_;        // this and the rest guarded by mutex_
  Threads threads_;
  Threads ended_;  // to be joined
  std::size_t idle_ = 0;
  bool ending_ = false;
};

}  // namespace dadi::runtime
