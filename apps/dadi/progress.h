// How far a long command is, on standard error.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "libformat/base/units.h"

namespace dadi {

enum class ProgressMode {
  kAuto,   // bars on a terminal, lines elsewhere
  kTty,    // one bar a task, redrawn in place
  kPlain,  // a line every few seconds
  kJson,   // one JSON object a line: {"event":"progress","task":…,"bytes":…,"total":…,"rate":…,"eta":…}
  kNone,
};

// Thread-safe. Counting costs one relaxed addition; drawing is done by a thread of its own, which starts with the first
// task, a few times a second.
class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  // One piece of work, counted in bytes. Thread-safe.
  class Task {
   public:
    Task(std::string label, Bytes total) : label_(std::move(label)), total_(total.value) {}

    void advance(Bytes more) { done_.fetch_add(more.value, std::memory_order_relaxed); }
    void set_done(Bytes done) { done_.store(done.value, std::memory_order_relaxed); }
    void set_total(Bytes total) { total_.store(total.value, std::memory_order_relaxed); }
    // Done, and shown once more as such; a task that is never finished just disappears with the Progress.
    void finish() { finished_.store(true, std::memory_order_release); }

   private:
    friend class Progress;
    // One look at a task: what is drawn.
    struct View {
      std::string_view label;
      Bytes done, total;  // total 0: not known
      double rate = 0;    // bytes a second: smoothed, or the average of a finished task
      double elapsed = 0;
      bool finished = false;
    };

    const std::string label_;
    const Clock::time_point started_ = Clock::now();
    std::atomic<std::uint64_t> done_ = 0;
    std::atomic<std::uint64_t> total_;
    std::atomic<bool> finished_ = false;
    // Guarded by the Progress's mutex.
    bool shown_finished_ = false;
    std::uint64_t last_done_ = 0;
    Clock::time_point last_look_ = started_;
    double rate_ = 0;
  };

  // Writes to `fd`. REQUIRES: `mode` is not kAuto, which is the session's to decide.
  Progress(ProgressMode mode, int fd, bool color);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // Shown in the order of starting. `total` 0: not known yet.
  std::shared_ptr<Task> start(std::string label, Bytes total);

  // A whole line of text that stays, above the bars.
  void line(std::string_view text);

  // Draws a last time and stops drawing: before the command's answer or error is printed.
  void stop();

 private:
  void draw_until_stopped(const std::stop_token& end);
  void draw(bool last);
  void look(Task& task, Task::View& view, Clock::time_point now);
  std::string take_bars_away();
  void write(std::string_view text);
  static std::string plain_line(const Task::View& view);
  std::string bar(const Task::View& view, std::size_t width) const;

  const ProgressMode mode_;
  const int fd_;
  const bool color_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::vector<std::shared_ptr<Task>> tasks_;  // not yet shown as finished
  std::size_t bars_shown_ = 0;
  std::jthread drawer_;
};

}  // namespace dadi
