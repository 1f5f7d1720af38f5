#include "libformat/blob/disk_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "libformat/blob/file_access.h"
#include "libformat/blob/file_blob.h"

namespace dadi {

namespace {

class DiskFile final : public WritableFile {
 public:
  DiskFile(UniqueFd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}

  // 0 where it cannot be told: then no read is within it.
  Bytes size() const override {
    struct stat status {};
    return {::fstat(fd_.get(), &status) == 0 ? static_cast<std::uint64_t>(status.st_size) : 0};
  }

  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const override {
    if (context.memory_only) return read_cached(fd_.get(), offset, out);
    return read_all(fd_.get(), offset, out, name_);
  }

  Result<void> write_at(Bytes offset, std::span<const std::byte> data) override {
    return write_all(fd_.get(), offset, data, name_);
  }

  Result<void> resize(Bytes size) override {
    if (::ftruncate(fd_.get(), static_cast<off_t>(size.value)) != 0) return failure("resize");
    return {};
  }

  Result<void> punch(Bytes offset, Bytes length) override {
    if (::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset.value),
                    static_cast<off_t>(length.value)) == 0)
      return {};
    if (errno == EOPNOTSUPP || errno == ENOSYS)
      return Error::unsupported("{}: the file system cannot punch holes", name_);
    return failure("punch a hole into");
  }

  Result<std::optional<Stretch>> next_data(Bytes from) const override {
    const off_t begin = ::lseek(fd_.get(), static_cast<off_t>(from.value), SEEK_DATA);
    if (begin < 0 && errno == ENXIO) return std::optional<Stretch>();
    const off_t end = begin < 0 ? begin : ::lseek(fd_.get(), begin, SEEK_HOLE);
    if (end < 0) return failure("find data in");
    return Stretch{{static_cast<std::uint64_t>(begin)}, {static_cast<std::uint64_t>(end)}};
  }

  Result<void> sync() override {
    if (::fdatasync(fd_.get()) != 0) return failure("fdatasync");
    return {};
  }

 private:
  Error failure(const char* what) const { return Error::from_errno(errno, fmt::format("{} {}", what, name_)); }

  UniqueFd fd_;
  std::string name_;
};

}  // namespace

Result<std::unique_ptr<DiskFolder>> DiskFolder::open(const std::filesystem::path& path) {
  const std::string name = path.string();
  const bool made = ::mkdir(path.c_str(), 0755) == 0;
  if (!made && errno != EEXIST) return Error::from_errno(errno, fmt::format("make {}", name));
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd && errno == ENOTDIR) return Error::invalid_argument("{} is not a folder", name);
  if (!fd) return Error::from_errno(errno, fmt::format("open {}", name));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return Error::busy("{} is in use by another process", name);
    return Error::from_errno(errno, fmt::format("lock {}", name));
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return Error::from_errno(errno, fmt::format("stat {}", name));
  if (made) DADI_CHECK(sync_directory(path.has_parent_path() ? path.parent_path() : "."));
  return std::unique_ptr<DiskFolder>(
      new DiskFolder(path, std::move(fd), {static_cast<std::uint64_t>(status.st_blksize)}));
}

Result<std::shared_ptr<WritableFile>> DiskFolder::open(const std::string& name) {
  const std::filesystem::path path = path_ / name;
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) return Error::from_errno(errno, fmt::format("open {}", path.string()));
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return Error::from_errno(errno, fmt::format("stat {}", path.string()));
  if (!S_ISREG(status.st_mode)) return Error::invalid_argument("{} is not a file", path.string());
  return std::shared_ptr<WritableFile>(std::make_shared<DiskFile>(std::move(fd), path.string()));
}

Result<std::shared_ptr<WritableFile>> DiskFolder::replace(const std::string& name, std::span<const std::byte> content) {
  DADI_CHECK(replace_file(path_ / name, content));
  return open(name);
}

Result<void> DiskFolder::remove(const std::string& name) {
  const std::filesystem::path path = path_ / name;
  if (::unlink(path.c_str()) == 0) return sync_directory(path_);
  if (errno == ENOENT) return {};
  return Error::from_errno(errno, fmt::format("remove {}", path.string()));
}

}  // namespace dadi
