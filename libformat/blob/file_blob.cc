#include "libformat/blob/file_blob.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "libformat/blob/file_access.h"

namespace dadi {

namespace {

constexpr std::size_t kWriteSize = std::size_t{1} << 20;    // small pieces are gathered up to this
constexpr std::size_t kLargePiece = std::size_t{64} << 10;  // and this is not small
constexpr std::size_t kReadSize = std::size_t{256} << 10;
constexpr Bytes kStartSize{std::uint64_t{8} << 20};

// A new file with a name that nobody uses, in `directory`. Readable as the umask allows once published.
Result<UniqueFd> create_temporary(const std::filesystem::path& directory, std::filesystem::path& path) {
  std::string name = (directory / ".dadi-XXXXXX").string();
  UniqueFd fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd) return Error::from_errno(errno, fmt::format("create a file in {}", directory.string()));
  path = name;
  ::fchmod(fd.get(), 0644);  // mkostemp makes it private
  return fd;
}

}  // namespace

Result<std::shared_ptr<const FileBlob>> FileBlob::open(const std::filesystem::path& path) {
  // Without O_NONBLOCK a pipe would wait for its other end; it has done its work once this is open.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  // A socket cannot be opened, nor a device node that nothing is behind.
  if (!fd && errno == ENXIO) return Error::invalid_argument("{} is not a file or block device", path.string());
  if (!fd) return Error::from_errno(errno, fmt::format("open {}", path.string()));
  return of(std::move(fd), path.string());
}

Result<std::shared_ptr<const FileBlob>> FileBlob::of(UniqueFd fd, std::string name) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return Error::from_errno(errno, fmt::format("stat {}", name));
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
    return Error::invalid_argument("{} is not a file or block device", name);
  ::fcntl(fd.get(), F_SETFL, 0);                      // reads may wait
  const off_t size = ::lseek(fd.get(), 0, SEEK_END);  // st_size of a block device is 0
  if (size < 0) return Error::from_errno(errno, fmt::format("size of {}", name));
  return std::shared_ptr<const FileBlob>(
      new FileBlob(std::move(fd), {static_cast<std::uint64_t>(size)}, std::move(name)));
}

Result<void> FileBlob::read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const {
  if (offset > size_ || out.size() > (size_ - offset).value)
    return Error::corruption("{}: {} bytes at offset {} reach past the end, {}", name_, out.size(), offset.value,
                             size_.value);
  if (context.memory_only) return read_cached(fd_.get(), offset, out);
  return read_all(fd_.get(), offset, out, name_);
}

FileBlobSink::FileBlobSink(std::filesystem::path directory, std::filesystem::path temporary, UniqueFd fd,
                           Bytes head_size, Namer name, Durable durable)
    : directory_(std::move(directory)),
      temporary_(std::move(temporary)),
      fd_(std::move(fd)),
      head_size_(head_size),
      name_(std::move(name)),
      durable_(durable),
      position_(head_size) {}

FileBlobSink::~FileBlobSink() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<std::unique_ptr<FileBlobSink>> FileBlobSink::create(const std::filesystem::path& directory, Bytes head_size,
                                                           Namer name, Durable durable) {
  std::filesystem::path temporary;
  DADI_TRY(UniqueFd fd, create_temporary(directory, temporary));
  return std::unique_ptr<FileBlobSink>(
      new FileBlobSink(directory, temporary, std::move(fd), head_size, std::move(name), durable));
}

// What is written goes to the disk while more comes, so that the fsync at the end has little left to wait for.
Result<void> FileBlobSink::append(std::span<const std::byte> data) {
  DADI_CHECK(write_all(fd_.get(), position_, data, temporary_.string()));
  position_ += Bytes{data.size()};
  if (durable_ != Durable::kNothing && position_ - started_ >= kStartSize) {
    ::sync_file_range(fd_.get(), static_cast<off_t>(started_.value), static_cast<off_t>((position_ - started_).value),
                      SYNC_FILE_RANGE_WRITE);
    started_ = position_;
  }
  return {};
}

Result<void> FileBlobSink::flush() {
  DADI_CHECK(append(pending_));
  pending_.clear();
  return {};
}

Result<void> FileBlobSink::write(std::span<const std::byte> data) {
  while (!data.empty()) {
    if (data.size() >= kLargePiece) {
      DADI_CHECK(flush());
      return append(data);
    }
    const auto part = data.first(std::min(data.size(), kWriteSize - pending_.size()));
    pending_.insert(pending_.end(), part.begin(), part.end());
    data = data.subspan(part.size());
    if (pending_.size() == kWriteSize) DADI_CHECK(flush());
  }
  return {};
}

Result<Digest> FileBlobSink::hash() const {
  Hasher hasher;
  std::vector<std::byte> buffer(std::min<std::uint64_t>(kReadSize, position_.value));
  for (Bytes at{0}; at < position_;) {
    const std::size_t want = std::min<std::uint64_t>(buffer.size(), (position_ - at).value);
    const ssize_t n = ::pread(fd_.get(), buffer.data(), want, static_cast<off_t>(at.value));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::from_errno(errno, fmt::format("read {}", temporary_.string()));
    if (n == 0) return Error::io("{}: cut short by somebody else", temporary_.string());
    hasher.update(std::span(buffer).first(static_cast<std::size_t>(n)));
    at += Bytes{static_cast<std::uint64_t>(n)};
  }
  return hasher.finish();
}

Result<BlobIdentity> FileBlobSink::finish(std::span<const std::byte> head) {
  if (Bytes{head.size()} != head_size_)
    return Error::internal("a head of {} bytes for {} reserved", head.size(), head_size_.value);
  DADI_CHECK(flush());
  DADI_CHECK(write_all(fd_.get(), {0}, head, temporary_.string()));
  if (durable_ != Durable::kNothing) ::sync_file_range(fd_.get(), 0, 0, SYNC_FILE_RANGE_WRITE);
  DADI_TRY(const Digest digest, hash());
  if (durable_ != Durable::kNothing && ::fsync(fd_.get()) != 0)
    return Error::from_errno(errno, fmt::format("fsync {}", temporary_.string()));
  const std::filesystem::path target = directory_ / name_(digest);
  if (::rename(temporary_.c_str(), target.c_str()) != 0)
    return Error::from_errno(errno, fmt::format("rename to {}", target.string()));
  temporary_.clear();
  if (durable_ == Durable::kYes) DADI_CHECK(sync_directory(directory_));
  return BlobIdentity{digest, position_};
}

Result<void> replace_file(const std::filesystem::path& path, std::span<const std::byte> content) {
  const std::filesystem::path directory = path.has_parent_path() ? path.parent_path() : ".";
  DADI_TRY(auto sink, FileBlobSink::create(directory, {0}, [&](const Digest&) { return path.filename().string(); }));
  DADI_CHECK(sink->write(content));
  DADI_CHECK(sink->finish({}));
  return {};
}

Result<void> sync_directory(const std::filesystem::path& directory) {
  UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return Error::from_errno(errno, fmt::format("open {}", directory.string()));
  if (::fsync(fd.get()) != 0 && errno != EINVAL)
    return Error::from_errno(errno, fmt::format("fsync {}", directory.string()));
  return {};
}

}  // namespace dadi
