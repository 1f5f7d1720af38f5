// Standard output: the answer of a command, and nothing else.
#pragma once

#include <fmt/core.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "libformat/base/result.h"
#include "libformat/blob/byte_stream.h"

namespace dadi {

// Buffered writes to a file descriptor. The first failure is kept: print() may be called without looking, flush()
// tells. One thread at a time.
class Output final : public ByteSink {
 public:
  explicit Output(int fd) : fd_(fd) {}

  bool is_terminal() const;

  template <typename... Args>
  void print(fmt::format_string<Args...> format, Args&&... args) {
    text(fmt::format(format, std::forward<Args>(args)...));
  }
  void text(std::string_view text);

  // Errors: io …; cancelled when nobody reads any more (see closed()).
  Result<void> write(std::span<const std::byte> data) override;
  Result<void> flush();

  // Whether the reader has gone away: `dadi ls … | head`. Not a failure worth a word.
  bool closed() const { return closed_; }

 private:
  Result<void> write_out(std::span<const std::byte> data);

  int fd_;
  std::string pending_;
  Result<void> status_;
  bool closed_ = false;
};

}  // namespace dadi
