#include "apps/dadid/log.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "runtime/attach/records.h"

namespace dadi {
namespace {

constexpr off_t kLargestFile = 1 << 20;
constexpr double kBurst = 10;
constexpr double kPerSecond = 1;
constexpr std::size_t kLongestText = 4096;

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Names from images may hold anything: a line stays a line.
std::string one_line(std::string_view text) {
  std::string line(text.substr(0, kLongestText));
  std::ranges::replace_if(
      line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
  return line;
}

}  // namespace

void Log::write(std::string_view level, std::string_view text) {
  const std::scoped_lock lock(mutex_);
  write_locked(level, text);
}

void Log::write_locked(std::string_view level, std::string_view text) {
  const std::string line = fmt::format("{} {}: {}\n", attach::time_now(), level, one_line(text));
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;  // there is nobody left to tell
  struct stat info {};
  if (!file_.empty() && ::fstat(STDERR_FILENO, &info) == 0 && info.st_size > kLargestFile) turn_over();
}

void Log::turn_over() {
  ::rename(file_.c_str(), (file_.string() + ".1").c_str());
  const int fd = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return;
  ::dup3(fd, STDERR_FILENO, 0);
  ::close(fd);
}

void Log::frequent_error(std::string_view text) {
  const std::scoped_lock lock(mutex_);
  const double now = seconds_now();
  allowance_ = std::min(kBurst, allowance_ + (now - last_) * kPerSecond);
  last_ = now;
  if (allowance_ < 1) {
    ++left_out_;
    return;
  }
  allowance_ -= 1;
  if (left_out_ > 0) write_locked("error", fmt::format("{} more errors were left out here", left_out_));
  left_out_ = 0;
  write_locked("error", text);
}

}  // namespace dadi
