#include "runtime/attach/file_lock.h"

#include <fcntl.h>

#include <cerrno>

namespace dadi::attach {
namespace {

struct flock whole_file(short type) {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  return range;
}

Result<UniqueFd> open_lock(const std::filesystem::path& path) {
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return Error::from_errno(errno, "open " + path.string());
  return fd;
}

}  // namespace

Result<FileLock> FileLock::take(const std::filesystem::path& path) {
  DADI_TRY(UniqueFd fd, open_lock(path));
  struct flock range = whole_file(F_WRLCK);
  while (::fcntl(fd.get(), F_OFD_SETLKW, &range) != 0) {
    if (errno != EINTR) return Error::from_errno(errno, "lock " + path.string());
  }
  return FileLock(std::move(fd));
}

Result<std::optional<FileLock>> FileLock::try_take(const std::filesystem::path& path) {
  DADI_TRY(UniqueFd fd, open_lock(path));
  struct flock range = whole_file(F_WRLCK);
  if (::fcntl(fd.get(), F_OFD_SETLK, &range) == 0) {
    if (::ftruncate(fd.get(), 0) != 0) return Error::from_errno(errno, "write to " + path.string());
    return std::optional(FileLock(std::move(fd)));
  }
  if (errno == EAGAIN || errno == EACCES) return std::optional<FileLock>();
  return Error::from_errno(errno, "lock " + path.string());
}

Result<void> FileLock::sign() const {
  const std::string text = std::to_string(::getpid()) + '\n';
  if (::ftruncate(fd_.get(), 0) != 0 || ::pwrite(fd_.get(), text.data(), text.size(), 0) < 0) {
    return Error::from_errno(errno, "write to a lock");
  }
  return {};
}

Result<bool> FileLock::is_held(const std::filesystem::path& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) {
    if (errno == ENOENT) return false;
    return Error::from_errno(errno, "open " + path.string());
  }
  struct flock range = whole_file(F_WRLCK);
  if (::fcntl(fd.get(), F_OFD_GETLK, &range) != 0) return Error::from_errno(errno, "look at lock " + path.string());
  return range.l_type != F_UNLCK;
}

}  // namespace dadi::attach
