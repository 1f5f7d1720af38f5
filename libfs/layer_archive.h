// The entries of a layer's tar stream, in order, with the meaning that the tar dialects give them (pax, GNU, ustar,
// SCHILY and LIBARCHIVE attributes, sparse files). Reading is by libarchive; what OCI makes of an entry (whiteouts,
// links into lower layers) is not decided here.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "libformat/blob/byte_stream.h"
#include "libfs/archive_budget.h"

namespace dadi::fs {

struct Timestamp {
  std::int64_t seconds = 0;  // since 1970, may be negative
  std::uint32_t nanoseconds = 0;

  friend bool operator==(const Timestamp&, const Timestamp&) = default;
};

// Extended attributes by full name ("user.x", "security.capability", "system.posix_acl_access"), values as the
// getxattr system call returns them. Ordered, so that everything made from them is deterministic.
using Xattrs = std::map<std::string, std::string>;

enum class FileType { kRegular, kDirectory, kSymlink, kCharacterDevice, kBlockDevice, kFifo, kSocket };

// What an inode has besides content.
struct Attributes {
  FileType type = FileType::kRegular;
  std::uint16_t permissions = 0;  // the low 12 bits of a mode
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  Timestamp mtime;
  std::uint32_t device_major = 0;  // of devices
  std::uint32_t device_minor = 0;
  Xattrs xattrs;

  friend bool operator==(const Attributes&, const Attributes&) = default;
};

struct ArchiveEntry {
  std::string path;                     // as in the archive, any bytes but NUL
  Attributes attributes;                // of a hardlink: meaningless
  std::optional<std::string> hardlink;  // target path, as in the archive
  std::string symlink;                  // target, verbatim
  Bytes size;                           // of a regular file, holes included
};

// A piece of a regular file's content. What no piece covers is a hole.
struct ArchiveData {
  Bytes offset;
  std::span<const std::byte> bytes;
};

// Entries in order, each with its content: a seam between reading an archive and what is made of it. One thread at a
// time.
class EntrySource {
 public:
  virtual ~EntrySource() = default;
  // The next entry, or null at the end; content of the entry before that was not read is skipped. The entry is the
  // caller's, to keep by moving it or to change, until the next call: its strings' memory is used again. After an error
  // every call fails with the same.
  virtual Result<ArchiveEntry*> next_entry() = 0;
  // The next piece of the current regular file's content, in ascending order, or none at its end. Valid until the next
  // call of any method. Never reaches past the entry's size.
  virtual Result<std::optional<ArchiveData>> next_data() = 0;
};

// One thread at a time.
class LayerArchive final : public EntrySource {
 public:
  // Reads a tar archive, uncompressed, from `source`, which must outlive this. Zero bytes are an archive without
  // entries. What is read counts against `budget`, if there is one, which must outlive this too.
  // Errors: corruption (not a tar), host_lacks (no UTF-8 locale), those of the source and the budget.
  static Result<std::unique_ptr<LayerArchive>> open(ByteSource& source, ArchiveBudget* budget = nullptr);
  ~LayerArchive() override;
  LayerArchive(const LayerArchive&) = delete;
  LayerArchive& operator=(const LayerArchive&) = delete;

  // At the archive's end the source is drained to its own end.
  // Paths have 1 to 4096 bytes and components of at most 255, to which a whiteout's prefix does not count. Devices have
  // a major number under 4096 and a minor one under 2^20. Global pax headers have no effect, as in container runtimes.
  // Errors: corruption (a malformed header; it, or the entry before, is named), unsupported (an entry that no file
  // system of ours can hold, and kinds of entries that are no files: the entry named), exhausted (the budget; it, or
  // the entry before, is named), those of the source, unchanged.
  Result<ArchiveEntry*> next_entry() override;

  // Errors, which do not name the entry: corruption (the archive is cut short; a sparse file's map contradicts itself),
  // exhausted (the budget), those of the source.
  Result<std::optional<ArchiveData>> next_data() override;

  // After the archive's end: whether it was marked by a block of zeros, so that nothing was cut off. A stream that ends
  // at an entry's boundary is no error here: a diff id tells better. Zero bytes count as a whole archive.
  bool saw_end_marker() const;
  // After the archive's end: how many bytes follow it, from the first that is not zero. They are ignored.
  Bytes trailing_garbage() const;

 private:
  class Stream;
  explicit LayerArchive(std::unique_ptr<Stream> stream);

  std::unique_ptr<Stream> stream_;
};

}  // namespace dadi::fs
