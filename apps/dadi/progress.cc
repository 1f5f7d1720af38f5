#include "apps/dadi/progress.h"

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stop_token>
#include <utility>

#include "apps/dadi/printable.h"
#include "apps/dadi/sizes.h"

namespace dadi {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostBars = 16;  // of a TTY: more tasks than this are summed up in a line
constexpr std::size_t kLabelWidth = 32;
constexpr std::size_t kSmallestBar = 5;
constexpr std::size_t kLargestBar = 40;

std::chrono::milliseconds interval_of(ProgressMode mode) {
  switch (mode) {
    case ProgressMode::kTty:
      return 100ms;
    case ProgressMode::kJson:
      return 1s;
    default:
      return 5s;
  }
}

std::size_t columns_of(int fd) {
  winsize size{};
  return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20 ? size.ws_col : 80;
}

std::string clock_time(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::clamp(seconds, 0.0, 359'999.0));
  return whole < 3600 ? fmt::format("{}:{:02}", whole / 60, whole % 60)
                      : fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

double seconds_between(Progress::Clock::time_point from, Progress::Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

double eta(Bytes done, Bytes total, double rate) {
  return rate > 0 && total > done ? static_cast<double>((total - done).value) / rate : 0;
}

std::string rate_text(double rate) {
  return format_size({static_cast<std::uint64_t>(rate)}) + "/s";
}

// "12.3/27.0 MiB": both in the unit that suits the total.
std::string parts(Bytes done, Bytes total) {
  constexpr std::array<std::string_view, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  double unit = 1;
  std::size_t power = 0;
  while (static_cast<double>(total.value) / unit >= 1000 && power + 1 < kUnits.size()) {
    unit *= 1024;
    ++power;
  }
  return fmt::format("{0:.{2}f}/{1:.{2}f} {3}", static_cast<double>(done.value) / unit,
                     static_cast<double>(total.value) / unit, power == 0 ? 0 : 1, kUnits[power]);
}

}  // namespace

Progress::Progress(ProgressMode mode, int fd, bool color) : mode_(mode), fd_(fd), color_(color) {}

Progress::~Progress() {
  stop();
}

std::shared_ptr<Progress::Task> Progress::start(std::string label, Bytes total) {
  auto task = std::make_shared<Task>(printable(label), total);
  if (mode_ == ProgressMode::kNone) return task;
  const std::lock_guard lock(mutex_);
  tasks_.push_back(task);
  if (!drawer_.joinable()) drawer_ = std::jthread([this](const std::stop_token& end) { draw_until_stopped(end); });
  return task;
}

void Progress::line(std::string_view text) {
  const std::lock_guard lock(mutex_);
  write(take_bars_away() + fmt::format("{}\n", text));
  if (mode_ == ProgressMode::kTty && !tasks_.empty()) draw(false);
}

void Progress::stop() {
  if (drawer_.joinable()) {
    drawer_.request_stop();
    drawer_.join();
  }
}

void Progress::draw_until_stopped(const std::stop_token& end) {
  std::unique_lock lock(mutex_);
  while (!end.stop_requested()) {
    wake_.wait_for(lock, end, interval_of(mode_), [] { return false; });
    if (!end.stop_requested()) draw(false);
  }
  draw(true);  // also when the end came before the first look
}

void Progress::look(Task& task, Task::View& view, Clock::time_point now) {
  view.finished = task.finished_.load(std::memory_order_acquire);
  view.label = task.label_;
  view.done = {task.done_.load(std::memory_order_relaxed)};
  view.total = {task.total_.load(std::memory_order_relaxed)};
  view.elapsed = seconds_between(task.started_, now);
  const double since = seconds_between(task.last_look_, now);
  if (since > 0.05) {
    // Exponential smoothing over about three seconds; the first look takes what it sees.
    const double current = static_cast<double>(view.done.value - std::min(view.done.value, task.last_done_)) / since;
    const double weight = task.last_look_ == task.started_ ? 1.0 : std::min(1.0, since / 3.0);
    task.rate_ += (current - task.rate_) * weight;
    task.last_done_ = view.done.value;
    task.last_look_ = now;
  }
  view.rate = task.rate_;
  if (view.finished) view.rate = view.elapsed > 0 ? static_cast<double>(view.done.value) / view.elapsed : 0;
}

std::string Progress::plain_line(const Task::View& view) {
  if (view.finished && view.done.value == 0)
    return fmt::format("{}: nothing read  in {:.1f} s", view.label, view.elapsed);
  if (view.finished) {
    return fmt::format("{}: {}  {}  in {:.1f} s", view.label, format_size(view.done), rate_text(view.rate),
                       view.elapsed);
  }
  if (view.total.value == 0) return fmt::format("{}: {}  {}", view.label, format_size(view.done), rate_text(view.rate));
  return fmt::format("{}: {}  {}  ETA {}", view.label, parts(view.done, view.total), rate_text(view.rate),
                     clock_time(eta(view.done, view.total, view.rate)));
}

// REQUIRES: mutex_ is held. Finished tasks are shown a last time, on lines that stay.
void Progress::draw(bool last) {
  const auto now = Clock::now();
  const std::size_t width = columns_of(fd_);
  std::string stay, bars;
  std::size_t bar_count = 0;
  for (const auto& task : tasks_) {
    Task::View view;
    look(*task, view, now);
    task->shown_finished_ = view.finished;
    if (mode_ == ProgressMode::kJson) {
      const nlohmann::ordered_json event = {{"event", view.finished ? "done" : "progress"},
                                            {"task", as_utf8(view.label)},
                                            {"bytes", view.done.value},
                                            {"total", view.total.value},
                                            {"rate", static_cast<std::uint64_t>(view.rate)},
                                            {"eta", std::ceil(eta(view.done, view.total, view.rate))}};
      stay += event.dump() + '\n';
    } else if (mode_ == ProgressMode::kPlain || view.finished) {
      if (last && !view.finished) continue;
      stay += plain_line(view) + '\n';
    } else if (!last && bar_count < kMostBars) {
      bars += bar(view, width) + '\n';
      ++bar_count;
    }
  }
  write(take_bars_away() + stay + bars);
  bars_shown_ = bar_count;
  std::erase_if(tasks_, [](const auto& task) { return task->shown_finished_; });
}

std::string Progress::bar(const Task::View& view, std::size_t width) const {
  std::string line = fmt::format("{:.{}}", view.label, kLabelWidth);
  if (view.total.value == 0) return fmt::format("{}  {}  {}", line, format_size(view.done), rate_text(view.rate));
  const std::string numbers = fmt::format("  {:>14}  {:>10}  {:>5}", parts(view.done, view.total), rate_text(view.rate),
                                          clock_time(eta(view.done, view.total, view.rate)));
  const std::size_t used = line.size() + 3 + numbers.size();
  if (used + kSmallestBar < width) {
    const double part = std::min(1.0, static_cast<double>(view.done.value) / static_cast<double>(view.total.value));
    const std::size_t cells = std::min(width - used - 1, kLargestBar);
    const auto full = static_cast<std::size_t>(part * static_cast<double>(cells));
    line += fmt::format(" [{}{}{}{}]", color_ ? "\x1b[32m" : "", std::string(full, '='), color_ ? "\x1b[0m" : "",
                        std::string(cells - full, ' '));
  }
  return line + numbers;
}

// What makes the bars vanish, so that other text can stand there.
std::string Progress::take_bars_away() {
  if (bars_shown_ == 0) return {};
  return fmt::format("\x1b[{}A\x1b[J", std::exchange(bars_shown_, 0));
}

void Progress::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd_, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return;  // nobody listens: not a reason to fail
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

}  // namespace dadi
