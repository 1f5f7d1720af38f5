#include "libformat/blob/unnamed_file.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdlib>

#include "libformat/blob/file_access.h"
#include "libformat/blob/file_blob.h"

namespace dadi {

namespace {

constexpr std::size_t kGathered = std::size_t{1} << 20;  // smaller pieces are gathered up to this

}  // namespace

Result<UnnamedFile> UnnamedFile::create(const std::filesystem::path& directory) {
  std::string path = (directory / ".dadi-XXXXXX").string();
  UniqueFd fd(::mkostemp(path.data(), O_CLOEXEC));
  if (!fd) return Error::from_errno(errno, fmt::format("create a file in {}", directory.string()));
  ::unlink(path.c_str());
  return UnnamedFile(std::move(fd), fmt::format("a temporary file in {}", directory.string()));
}

Result<void> UnnamedFile::flush() {
  DADI_CHECK(write_all(fd_.get(), position_, pending_, name_));
  position_ += Bytes{pending_.size()};
  pending_.clear();
  return {};
}

Result<void> UnnamedFile::write(std::span<const std::byte> data) {
  pending_.insert(pending_.end(), data.begin(), data.end());
  if (pending_.size() >= kGathered) return flush();
  return {};
}

Result<SharedBlob> UnnamedFile::finish() {
  DADI_CHECK(flush());
  DADI_TRY(SharedBlob blob, FileBlob::of(std::move(fd_), name_));
  return blob;
}

}  // namespace dadi
