// Many short transfers at once, in one thread: they share connections, and HTTP/2 carries them side by side on one.
#pragma once

#include <curl/curl.h>

#include <condition_variable>
#include <mutex>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

#include "libformat/blob/blob_reader.h"

namespace dadi::registry {

// Callbacks of the handles are called by the loop's thread, and must not wait: a transfer that pauses would hold up all
// others of its connection. Thread-safe.
class HttpLoop {
 public:
  HttpLoop();
  ~HttpLoop();
  HttpLoop(const HttpLoop&) = delete;
  HttpLoop& operator=(const HttpLoop&) = delete;

  // REQUIRES: load_curl() has succeeded. Runs the transfer that `easy` describes until it is over, or one of `stops` is
  // asked for, or the deadline passes. After that nothing of it is called any more. CURLE_ABORTED_BY_CALLBACK: it was
  // stopped; CURLE_OPERATION_TIMEDOUT: also the deadline.
  CURLcode run(CURL* easy, std::span<const std::stop_token> stops, std::chrono::steady_clock::time_point deadline);

 private:
  struct Job;

  void begin();
  void work();
  void add_and_remove();
  void end(CURL* easy, CURLcode code);

  std::mutex mutex_;
  CURLM* multi_ = nullptr;     // from the first transfer on, as the thread
  std::vector<Job*> added_;    // this and the rest guarded by mutex_
  std::vector<Job*> removed_;  // are to be
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace dadi::registry
