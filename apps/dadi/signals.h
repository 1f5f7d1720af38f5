// Signals become a stop token.
#pragma once

#include <atomic>
#include <stop_token>
#include <thread>

namespace dadi {

// Watches for SIGINT, SIGTERM and SIGHUP from construction to destruction. The first asks for a stop, and the work ends
// cleanly; the third ends the process at once. SIGPIPE is ignored: writing to a closed pipe is an error of that write.
// Make it before any other thread: threads inherit the blocked signals.
class SignalWatch {
 public:
  SignalWatch();
  ~SignalWatch();
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  // Thread-safe.
  std::stop_token stop() const { return stop_.get_token(); }
  // The first signal that arrived, or 0. Thread-safe.
  int caught() const { return caught_; }

 private:
  void watch(const std::stop_token& end);

  std::stop_source stop_;
  std::atomic<int> caught_ = 0;
  std::jthread watcher_;
};

}  // namespace dadi
