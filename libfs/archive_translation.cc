#include "libfs/archive_translation.h"

#include <archive.h>
#include <archive_entry.h>

#include <limits>
#include <utility>

#include "libfs/archive_acl.h"
#include "libfs/archive_text.h"

namespace dadi::fs {

namespace {

constexpr std::size_t kLongestPath = 4096;
constexpr std::size_t kLongestName = 255;
constexpr std::string_view kWhiteout = ".wh.";
constexpr std::size_t kLongestSymlink = 4095;
constexpr std::uint64_t kLargestFile = ((std::uint64_t{1} << 32) - 1) * 4096;  // in blocks of 4 KiB; the kernel's limit
constexpr dev_t kMajors = dev_t{1} << 12;
constexpr dev_t kMinors = dev_t{1} << 20;

std::string_view text_or_empty(const char* text) {
  return text == nullptr ? std::string_view() : std::string_view(text);
}

Result<void> check_path(std::string_view path) {
  if (path.empty()) return Error::corruption("an empty name");
  if (path.size() > kLongestPath)
    return Error::unsupported("a path of {} bytes, {} at most", path.size(), kLongestPath);
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    // The name that a whiteout hides may be as long as others.
    const bool whiteout = path.starts_with(kWhiteout) && path.find_first_not_of('/', end) == std::string_view::npos;
    if (end > kLongestName + (whiteout ? kWhiteout.size() : 0))
      return Error::unsupported("a name of {} bytes, {} at most", end, kLongestName);
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return {};
}

// The type flags that stand for files. Of the others, libarchive would take most for regular files.
Result<FileType> file_type(char flag) {
  switch (flag) {
    case '\0':
    case '0':
    case '7':  // contiguous
    case 'S':  // sparse, old GNU
      return FileType::kRegular;
    case '1':
      return FileType::kRegular;
    case '2':
      return FileType::kSymlink;
    case '3':
      return FileType::kCharacterDevice;
    case '4':
      return FileType::kBlockDevice;
    case '5':
    case 'D':  // a directory with a list of its files, in GNU's incremental archives
      return FileType::kDirectory;
    case '6':
      return FileType::kFifo;
    default:
      return Error::unsupported("an entry of the tar type {}", in_quotes({&flag, 1}));
  }
}

Result<std::uint32_t> file_id(const char* which, std::int64_t id) {
  if (id < 0 || id > std::numeric_limits<std::uint32_t>::max())
    return Error::unsupported("a {} of {}, not within 32 bits", which, id);
  return static_cast<std::uint32_t>(id);
}

// libarchive 3.6.2 gets negative fractional pax times wrong, and from what it says -0.5 cannot be told from 0.5: so the
// record itself is read, whatever the version.
Result<Timestamp> modification_time(archive_entry* raw, const EntryHeaders& headers) {
  if (const auto text = headers.pax.find("mtime")) return parse_pax_time(*text);
  return Timestamp{archive_entry_mtime(raw), static_cast<std::uint32_t>(archive_entry_mtime_nsec(raw))};
}

Result<Xattrs> extended_attributes(archive_entry* raw, const EntryHeaders& headers, FileType type) {
  Xattrs xattrs;
  const char* name = nullptr;
  const void* value = nullptr;
  std::size_t size = 0;
  archive_entry_xattr_reset(raw);
  while (archive_entry_xattr_next(raw, &name, &value, &size) == ARCHIVE_OK) {
    // The last record of a name counts, and libarchive tells the last first.
    xattrs.emplace(name, std::string(static_cast<const char*>(value), size));
  }
  // A symlink has no access list, and only a directory has a default one. What an attribute says goes before a text.
  const auto add_acl = [&](const char* attribute, const char* record, bool keep_minimal) -> Result<void> {
    const auto text = headers.pax.find(record);
    if (!text || xattrs.contains(attribute)) return {};
    DADI_TRY(auto acl, posix_acl_from_text(*text, keep_minimal).context("{}", record));
    if (acl) xattrs.emplace(attribute, *std::move(acl));
    return {};
  };
  if (type != FileType::kSymlink) DADI_CHECK(add_acl("system.posix_acl_access", "SCHILY.acl.access", false));
  if (type == FileType::kDirectory) DADI_CHECK(add_acl("system.posix_acl_default", "SCHILY.acl.default", true));
  return xattrs;
}

Result<void> read_device(archive_entry* raw, Attributes& attributes) {
  const dev_t major = archive_entry_rdevmajor(raw);
  const dev_t minor = archive_entry_rdevminor(raw);
  if (major >= kMajors || minor >= kMinors)
    return Error::unsupported("the device number {}:{} is out of range", major, minor);
  attributes.device_major = static_cast<std::uint32_t>(major);
  attributes.device_minor = static_cast<std::uint32_t>(minor);
  return {};
}

Result<void> read_attributes(archive_entry* raw, const EntryHeaders& headers, FileType type, Attributes& attributes) {
  attributes.type = type;
  attributes.permissions = headers.permissions;  // libarchive's are mixed with those of an access list
  DADI_TRY(attributes.uid, file_id("user id", archive_entry_uid(raw)));
  DADI_TRY(attributes.gid, file_id("group id", archive_entry_gid(raw)));
  DADI_TRY(attributes.mtime, modification_time(raw, headers));
  DADI_TRY(attributes.xattrs, extended_attributes(raw, headers, type));
  if (type == FileType::kCharacterDevice || type == FileType::kBlockDevice) DADI_CHECK(read_device(raw, attributes));
  return {};
}

// Where a link points: the pax record before the header's field, byte for byte.
Result<std::string> link_target(archive_entry* raw, const EntryHeaders& headers) {
  const char* field = headers.type == '1' ? archive_entry_hardlink(raw) : archive_entry_symlink(raw);
  const auto record = headers.pax.find("linkpath");
  std::string target(record ? *record : text_or_empty(field));
  if (target.empty()) return Error::corruption("a link without a target");
  const std::size_t most = headers.type == '1' ? kLongestPath : kLongestSymlink;
  if (target.size() > most) return Error::unsupported("a link target of {} bytes, {} at most", target.size(), most);
  return target;
}

Result<Bytes> content_size(archive_entry* raw, const EntryHeaders& headers) {
  if (headers.pax.find("SCHILY.realsize") || headers.pax.find("SCHILY.tarfiletype"))
    return Error::unsupported("a sparse file in the format of star");
  const std::int64_t size = archive_entry_size(raw);
  if (size < 0) return Error::corruption("a size of {} bytes", size);
  if (std::cmp_greater(size, kLargestFile))
    return Error::unsupported("a size of {} bytes; a file has {} at most", size, kLargestFile);
  return Bytes{static_cast<std::uint64_t>(size)};
}

}  // namespace

std::string_view entry_path(archive_entry* raw, const EntryHeaders& headers) {
  for (const char* key : {"GNU.sparse.name", "path"}) {
    if (const auto path = headers.pax.find(key)) return *path;
  }
  return text_or_empty(archive_entry_pathname(raw));
}

Result<void> translate_entry(archive_entry* raw, const EntryHeaders& headers, ArchiveEntry& entry) {
  entry.attributes = {};
  entry.hardlink.reset();
  entry.symlink.clear();
  entry.size = {};
  DADI_CHECK(check_path(entry.path));
  DADI_TRY(FileType type, file_type(headers.type));
  if (headers.type == '1') {
    DADI_TRY(entry.hardlink, link_target(raw, headers));
    return {};
  }
  // Old archives write directories as files whose names end in a slash.
  if (type == FileType::kRegular) {
    DADI_TRY(entry.size, content_size(raw, headers));
    if (entry.path.ends_with('/')) {
      if (entry.size.value != 0) return Error::corruption("a directory with content");
      type = FileType::kDirectory;
    }
  } else if (headers.type != 'D' && archive_entry_size(raw) != 0) {
    return Error::corruption("a size of {} bytes, but no regular file", archive_entry_size(raw));
  }
  if (type == FileType::kSymlink) {
    DADI_TRY(entry.symlink, link_target(raw, headers));
  }
  return read_attributes(raw, headers, type, entry.attributes);
}

}  // namespace dadi::fs
