#include "apps/dadi/new_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "libformat/blob/file_blob.h"

namespace dadi {

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

Result<void> check_replaceable(const std::filesystem::path& path) {
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return {};
    return Error::from_errno(errno, path.string());
  }
  if (!S_ISREG(st.st_mode)) return Error::invalid_argument("{} exists, and is not a regular file", path.string());
  return {};
}

Result<std::unique_ptr<NewFile>> NewFile::create(const std::filesystem::path& path) {
  DADI_CHECK(check_replaceable(path));
  std::string temporary = (folder_of(path) / ("." + path.filename().string() + ".XXXXXX")).string();
  UniqueFd fd(mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd) return Error::from_errno(errno, "create a file in " + folder_of(path).string());
  // mkostemp gives 0600; a file that is asked for by name has what the umask leaves of 0666.
  const mode_t mask = umask(0);
  umask(mask);
  fchmod(fd.get(), 0666 & ~mask);
  return std::unique_ptr<NewFile>(new NewFile(path, temporary, std::move(fd)));
}

NewFile::~NewFile() {
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

Result<void> NewFile::write_at(Bytes offset, std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t n = pwrite(fd_.get(), data.data(), data.size(), static_cast<off_t>(offset.value));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno(errno, "write " + path_.string());
    data = data.subspan(static_cast<std::size_t>(n));
    offset.value += static_cast<std::uint64_t>(n);
  }
  return {};
}

Result<void> NewFile::publish(Bytes size) {
  if (ftruncate(fd_.get(), static_cast<off_t>(size.value)) != 0 || fsync(fd_.get()) != 0) {
    return Error::from_errno(errno, "write " + path_.string());
  }
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return Error::from_errno(errno, "rename to " + path_.string());
  temporary_.clear();
  return sync_directory(folder_of(path_));
}

}  // namespace dadi
