#include "libformat/blob/file_access.h"

#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

namespace dadi {

Result<void> read_all(int fd, Bytes offset, std::span<std::byte> out, const std::string& name) {
  while (!out.empty()) {
    const ssize_t n = ::pread(fd, out.data(), out.size(), static_cast<off_t>(offset.value));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno(errno, fmt::format("read {}", name));
    if (n == 0) return Error::io("{}: the file was cut short at {} while in use", name, offset.value);
    out = out.subspan(static_cast<std::size_t>(n));
    offset += Bytes{static_cast<std::uint64_t>(n)};
  }
  return {};
}

Result<void> read_cached(int fd, Bytes offset, std::span<std::byte> out) {
  const iovec target{out.data(), out.size()};
  const ssize_t n = ::preadv2(fd, &target, 1, static_cast<off_t>(offset.value), RWF_NOWAIT);
  if (n >= 0 && static_cast<std::size_t>(n) == out.size()) return {};
  return Error::would_block("not in memory");
}

Result<void> write_all(int fd, Bytes offset, std::span<const std::byte> data, const std::string& name) {
  while (!data.empty()) {
    const ssize_t n = ::pwrite(fd, data.data(), data.size(), static_cast<off_t>(offset.value));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno(errno, fmt::format("write {}", name));
    data = data.subspan(static_cast<std::size_t>(n));
    offset += Bytes{static_cast<std::uint64_t>(n)};
  }
  return {};
}

}  // namespace dadi
