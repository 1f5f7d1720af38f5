#include "libconvert/oci/staging.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>

namespace dadi::oci {

namespace {

constexpr char kLockName[] = "lock";

enum class Wait { kYes, kNo };

int lock_file(int fd, Wait wait) {
  for (;;) {
    if (::flock(fd, wait == Wait::kYes ? LOCK_EX : LOCK_EX | LOCK_NB) == 0) return 0;
    if (errno != EINTR) return errno;
  }
}

// Whether the file that was opened still has its name: its last owner may have removed it while we waited.
bool has_name(int fd, const std::filesystem::path& path) {
  struct stat opened {};
  struct stat named {};
  return ::fstat(fd, &opened) == 0 && ::lstat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino &&
         opened.st_dev == named.st_dev;
}

// A locked file of that name, made when missing.
Result<UniqueFd> lock_named(const std::filesystem::path& path) {
  for (;;) {
    UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
    if (!fd) return Error::from_errno(errno, fmt::format("create {}", path.string()));
    if (const int number = lock_file(fd.get(), Wait::kYes); number != 0)
      return Error::from_errno(number, fmt::format("lock {}", path.string()));
    if (has_name(fd.get(), path)) return fd;
  }
}

UniqueFd open_lock(const std::filesystem::path& folder) {
  return UniqueFd(::open((folder / kLockName).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
}

// Removes a staging folder whose process is gone. A living one holds its lock, or is about to look whether it still
// can.
void remove_if_dead(const std::filesystem::path& folder) {
  std::error_code ignored;  // somebody else's, or on its way out: not our matter
  UniqueFd fd = open_lock(folder);
  if (!fd && errno == ENOENT) {
    if (::rmdir(folder.c_str()) == 0 || errno != ENOTEMPTY) return;
    // The lock is the first that is put there: it came just now, or was lost in a power cut.
    fd = open_lock(folder);
    if (!fd && errno == ENOENT) std::filesystem::remove_all(folder, ignored);
  }
  if (!fd || lock_file(fd.get(), Wait::kNo) != 0) return;
  std::filesystem::remove_all(folder, ignored);
}

void remove_dead(const std::filesystem::path& parent) {
  std::error_code ignored;
  std::vector<std::filesystem::path> folders;
  for (auto at = std::filesystem::directory_iterator(parent, ignored); at != std::filesystem::directory_iterator();
       at.increment(ignored))
    if (at->path().filename().string().starts_with(StagingFolder::kPrefix)) folders.push_back(at->path());
  for (const auto& folder : folders) remove_if_dead(folder);
}

}  // namespace

Result<FileLock> FileLock::acquire(const std::filesystem::path& path) {
  DADI_TRY(UniqueFd fd, lock_named(path));
  return FileLock(path, std::move(fd));
}

FileLock::~FileLock() {
  if (fd_) ::unlink(path_.c_str());  // while it is still ours; then closing releases it
}

Result<CreatedFolders> CreatedFolders::create(const std::filesystem::path& path) {
  CreatedFolders result;
  std::filesystem::path sofar;
  for (const auto& part : path) {
    sofar /= part;
    if (sofar.empty() || part.empty()) continue;
    for (;;) {
      if (::mkdir(sofar.c_str(), 0777) == 0) {
        result.created_.push_back(sofar);
        break;
      }
      const int number = errno;
      std::error_code ignored;
      if (std::filesystem::is_directory(sofar, ignored)) break;
      if (number != EEXIST) return Error::from_errno(number, fmt::format("create folder {}", sofar.string()));
      // It was there, and another process that made it has taken it away: see the destructor.
      if (std::filesystem::symlink_status(sofar, ignored).type() == std::filesystem::file_type::not_found) continue;
      return Error::invalid_argument("{} exists and is not a folder", sofar.string());
    }
  }
  return result;
}

CreatedFolders::~CreatedFolders() {
  for (auto at = created_.rbegin(); at != created_.rend(); ++at) ::rmdir(at->c_str());
}

std::vector<std::filesystem::path> CreatedFolders::parents() const {
  std::vector<std::filesystem::path> result;
  for (const auto& folder : created_) result.push_back(folder.has_parent_path() ? folder.parent_path() : ".");
  return result;
}

Result<StagingFolder> StagingFolder::create(const std::filesystem::path& parent) {
  remove_dead(parent);
  for (;;) {
    std::string path = (parent / kPrefix).string() + "XXXXXX";
    if (::mkdtemp(path.data()) == nullptr)
      return Error::from_errno(errno, fmt::format("create a folder in {}", parent.string()));
    auto lock = lock_named(std::filesystem::path(path) / kLockName);
    if (lock) return StagingFolder(path, std::move(*lock));
    // Somebody who cleans up took it for dead, between its making and its locking.
    if (lock.error().code() != ErrorCode::kNotFound) {
      ::rmdir(path.c_str());
      return std::move(lock).error();
    }
  }
}

StagingFolder::~StagingFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

}  // namespace dadi::oci
