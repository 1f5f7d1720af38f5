#include "libconvert/registry/http_loop.h"

#include <deque>
#include <functional>
#include <optional>

#include "libconvert/registry/curl.h"

namespace dadi::registry {

namespace {

constexpr long kMostToOneHost = 48;  // connections, without HTTP/2: an image of 20 layers is opened by 40 requests
constexpr long kMostIdle = 16;       // connections that are kept
constexpr int kWhileRunning = 1000;  // milliseconds between looks at timeouts
constexpr int kWhileIdle = 3600 * 1000;

}  // namespace

struct HttpLoop::Job {
  CURL* easy = nullptr;
  std::condition_variable_any changed;
  std::optional<CURLcode> result;  // guarded by the loop's mutex
};

HttpLoop::HttpLoop() = default;

HttpLoop::~HttpLoop() {
  if (multi_ == nullptr) return;
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  curl().multi_wakeup(multi_);
  thread_.join();
  curl().multi_cleanup(multi_);
}

// REQUIRES: mutex_ is held.
void HttpLoop::begin() {
  multi_ = curl().multi_init();
  curl().multi_setopt(multi_, CURLMOPT_MAX_HOST_CONNECTIONS, kMostToOneHost);
  curl().multi_setopt(multi_, CURLMOPT_MAXCONNECTS, kMostIdle);
  thread_ = std::thread([this] { work(); });
}

CURLcode HttpLoop::run(CURL* easy, std::span<const std::stop_token> stops,
                       std::chrono::steady_clock::time_point deadline) {
  Job job;
  job.easy = easy;
  const auto wake = [&] {
    const std::lock_guard lock(mutex_);
    job.changed.notify_all();
  };
  const auto stopped = [&] {
    for (const std::stop_token& stop : stops)
      if (stop.stop_requested()) return true;
    return false;
  };
  std::deque<std::stop_callback<std::function<void()>>> callbacks;
  for (const std::stop_token& stop : stops) callbacks.emplace_back(stop, wake);

  std::unique_lock lock(mutex_);
  if (multi_ == nullptr) begin();
  added_.push_back(&job);
  curl().multi_wakeup(multi_);
  const auto over = [&] { return job.result.has_value() || stopped(); };
  if (deadline == std::chrono::steady_clock::time_point::max()) {
    job.changed.wait(lock, over);
  } else {
    job.changed.wait_until(lock, deadline, over);
  }
  if (job.result) return *job.result;
  const CURLcode given_up = stopped() ? CURLE_ABORTED_BY_CALLBACK : CURLE_OPERATION_TIMEDOUT;
  removed_.push_back(&job);
  curl().multi_wakeup(multi_);
  job.changed.wait(lock, [&] { return job.result.has_value(); });
  return given_up;
}

void HttpLoop::work() {
  for (;;) {
    add_and_remove();
    int running = 0;
    curl().multi_perform(multi_, &running);
    int left = 0;
    while (const CURLMsg* message = curl().multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      CURL* const easy = message->easy_handle;
      const CURLcode code = message->data.result;  // gone with the handle
      curl().multi_remove_handle(multi_, easy);
      end(easy, code);
    }
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return;
      if (!added_.empty() || !removed_.empty()) continue;
    }
    curl().multi_poll(multi_, nullptr, 0, running > 0 ? kWhileRunning : kWhileIdle, nullptr);
  }
}

void HttpLoop::add_and_remove() {
  std::vector<Job*> added, removed;
  {
    const std::lock_guard lock(mutex_);
    added.swap(added_);
    removed.swap(removed_);
  }
  for (Job* job : added) {
    curl().easy_setopt(job->easy, CURLOPT_PRIVATE, job);
    if (curl().multi_add_handle(multi_, job->easy) == CURLM_OK) continue;
    std::erase(removed, job);
    end(job->easy, CURLE_FAILED_INIT);
  }
  for (Job* job : removed) {
    curl().multi_remove_handle(multi_, job->easy);
    end(job->easy, CURLE_ABORTED_BY_CALLBACK);
  }
}

// Its job is not touched after.
void HttpLoop::end(CURL* easy, CURLcode code) {
  Job* job = nullptr;
  curl().easy_getinfo(easy, CURLINFO_PRIVATE, &job);
  const std::lock_guard lock(mutex_);
  std::erase(removed_, job);
  job->result = code;
  job->changed.notify_all();
}

}  // namespace dadi::registry
