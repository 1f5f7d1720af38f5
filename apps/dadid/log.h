// What dadid has to say: lines on stderr, which is the journal, a terminal, or a file of its own that stays small.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string_view>

namespace dadi {

// Thread-safe.
class Log {
 public:
  // `file`: what stderr was opened on, to be replaced when it has grown to 1 MiB, keeping the one before as FILE.1;
  // "": stderr is somebody else's, and grows as he likes.
  explicit Log(std::filesystem::path file) : file_(std::move(file)) {}

  void info(std::string_view text) { write("info", text); }
  void warning(std::string_view text) { write("warning", text); }
  void error(std::string_view text) { write("error", text); }

  // An error of which thousands may come: ten at once and one a second are written, the others counted.
  void frequent_error(std::string_view text);

 private:
  void write(std::string_view level, std::string_view text);
  void write_locked(std::string_view level, std::string_view text);
  void turn_over();

  const std::filesystem::path file_;
  std::mutex mutex_;
  double allowance_ = 10;  // this and the rest guarded by mutex_
  double last_ = 0;        // seconds
  std::uint64_t left_out_ = 0;
};

}  // namespace dadi
