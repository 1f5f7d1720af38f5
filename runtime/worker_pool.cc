#include "runtime/worker_pool.h"

#include <pthread.h>

#include <chrono>
#include <system_error>
#include <utility>

namespace dadi::runtime {

namespace {

constexpr auto kIdle = std::chrono::seconds(10);  // a thread without work ends after this

}  // namespace

WorkerPool::WorkerPool(std::string name, std::size_t most) : name_(name.substr(0, 15)), most_(most) {}

WorkerPool::~WorkerPool() {
  std::unique_lock lock(mutex_);
  ending_ = true;
  wake_.notify_all();
  wake_.wait(lock, [this] { return threads_.empty(); });
  join(std::move(ended_));  // they need the lock no more
}

void WorkerPool::submit(Task task) {
  Threads ended;
  {
    const std::lock_guard lock(mutex_);
    ended.swap(ended_);
    if (idle_ > tasks_.size() || threads_.size() == most_ || start_thread() || !threads_.empty()) {
      tasks_.push_back(std::move(task));
      task = nullptr;
      wake_.notify_one();
    }
  }
  join(std::move(ended));
  if (task) task();
}

std::size_t WorkerPool::threads() const {
  const std::lock_guard lock(mutex_);
  return threads_.size();
}

// REQUIRES: mutex_ is held.
bool WorkerPool::start_thread() {
  const auto self = threads_.emplace(threads_.end());
  try {
    *self = std::thread([this, self] { work(self); });
  } catch (const std::system_error&) {
    threads_.erase(self);
    return false;
  }
  return true;
}

void WorkerPool::work(Threads::iterator self) {
  ::pthread_setname_np(::pthread_self(), name_.c_str());
  std::unique_lock lock(mutex_);
  while (true) {
    if (tasks_.empty() && !ending_) {
      ++idle_;
      wake_.wait_for(lock, kIdle, [this] { return !tasks_.empty() || ending_; });
      --idle_;
    }
    if (tasks_.empty()) break;  // idle for long, or the end
    {
      const Task task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
    }
    lock.lock();
  }
  ended_.splice(ended_.end(), threads_, self);
  wake_.notify_all();
}

void WorkerPool::join(Threads threads) {
  for (std::thread& thread : threads) thread.join();
}

}  // namespace dadi::runtime
