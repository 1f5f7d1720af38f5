#include "apps/dadi/output.h"

#include <unistd.h>

#include <cerrno>

#include "libformat/base/bytes.h"

namespace dadi {
namespace {
constexpr std::size_t kBufferSize = 64 * 1024;
}  // namespace

bool Output::is_terminal() const {
  return isatty(fd_) == 1;
}

void Output::text(std::string_view text) {
  pending_ += text;
  if (pending_.size() >= kBufferSize) static_cast<void>(flush().has_value());
}

Result<void> Output::write(std::span<const std::byte> data) {
  DADI_CHECK(flush());
  status_ = write_out(data);
  return status_;
}

Result<void> Output::flush() {
  if (!status_) return status_;
  status_ = write_out(as_bytes(pending_));
  pending_.clear();
  return status_;
}

Result<void> Output::write_out(std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd_, data.data(), data.size());
    if (n >= 0) {
      data = data.subspan(static_cast<std::size_t>(n));
    } else if (errno == EPIPE) {
      closed_ = true;
      return Error::cancelled("standard output was closed");
    } else if (errno != EINTR) {
      return Error::from_errno(errno, "write to standard output");
    }
  }
  return {};
}

}  // namespace dadi
