#include "libfs/ext4/inode.h"

#include <algorithm>

#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"
#include "libfs/ext4/checksum.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

namespace field = layout::inode;

// A time of 32 signed bits, extended by two bits of epoch and 30 of nanoseconds where the inode has room for them.
Timestamp decode_time(std::span<const std::byte> fields, std::size_t seconds, std::size_t extra) {
  Timestamp time;
  if (seconds + 4 > fields.size()) return time;
  time.seconds = static_cast<std::int32_t>(load_le<std::uint32_t>(fields, seconds));
  if (extra + 4 > fields.size()) return time;
  const auto bits = load_le<std::uint32_t>(fields, extra);
  time.seconds += static_cast<std::int64_t>(bits & 3) << 32;
  time.nanoseconds = std::min(bits >> 2, 999'999'999U);
  return time;
}

// The old encoding has 8 bits for each number, the new one, in the second word, 12 and 20.
void decode_device(std::span<const std::byte> map, Attributes& attributes) {
  if (const auto old = load_le<std::uint32_t>(map, 0); old != 0) {
    attributes.device_major = old >> 8 & 0xFF;
    attributes.device_minor = old & 0xFF;
    return;
  }
  const auto number = load_le<std::uint32_t>(map, 4);
  attributes.device_major = number >> 8 & 0xFFF;
  attributes.device_minor = (number & 0xFF) | (number >> 12 & 0xFFF00);
}

std::uint64_t with_high_half(std::span<const std::byte> raw, std::size_t low, std::size_t high) {
  return std::uint64_t{load_le<std::uint16_t>(raw, high)} << 32 | load_le<std::uint32_t>(raw, low);
}

// The high half means something else in directories, unless they may be large, and nothing in symlinks.
Bytes content_size(const Superblock& superblock, std::span<const std::byte> raw, FileType type) {
  const bool is_wide =
      type == FileType::kRegular ||
      (type == FileType::kDirectory && superblock.has_incompatible(layout::incompatible::kLargeDirectories));
  const std::uint64_t high = is_wide ? load_le<std::uint32_t>(raw, field::kSizeHigh) : 0;
  return {high << 32 | load_le<std::uint32_t>(raw, field::kSizeLow)};
}

Bytes allocated_size(const Superblock& superblock, std::span<const std::byte> raw, std::uint32_t flags) {
  if (!superblock.has_read_only(layout::read_only::kHugeFiles))
    return {load_le<std::uint32_t>(raw, field::kBlocksLow) * kSectorSize};
  const std::uint64_t blocks = with_high_half(raw, field::kBlocksLow, field::kBlocksHigh);
  return {blocks * ((flags & layout::inode_flag::kHugeFile) != 0 ? superblock.block_size : kSectorSize)};
}

}  // namespace

std::optional<FileType> file_type_of_mode(std::uint16_t mode) {
  switch (mode & layout::mode::kTypeMask) {
    case layout::mode::kFifo:
      return FileType::kFifo;
    case layout::mode::kCharacterDevice:
      return FileType::kCharacterDevice;
    case layout::mode::kDirectory:
      return FileType::kDirectory;
    case layout::mode::kBlockDevice:
      return FileType::kBlockDevice;
    case layout::mode::kRegular:
      return FileType::kRegular;
    case layout::mode::kSymlink:
      return FileType::kSymlink;
    case layout::mode::kSocket:
      return FileType::kSocket;
    default:
      return std::nullopt;
  }
}

std::uint8_t directory_file_type(FileType type) {
  switch (type) {
    case FileType::kRegular:
      return layout::file_type::kRegular;
    case FileType::kDirectory:
      return layout::file_type::kDirectory;
    case FileType::kSymlink:
      return layout::file_type::kSymlink;
    case FileType::kCharacterDevice:
      return layout::file_type::kCharacterDevice;
    case FileType::kBlockDevice:
      return layout::file_type::kBlockDevice;
    case FileType::kFifo:
      return layout::file_type::kFifo;
    case FileType::kSocket:
      return layout::file_type::kSocket;
  }
  return layout::file_type::kUnknown;
}

std::size_t inode_fields_size(std::span<const std::byte> raw) {
  if (raw.size() < field::kSmallSize + 4) return field::kSmallSize;
  const std::size_t extra = load_le<std::uint16_t>(raw, field::kExtraSize);
  return extra > raw.size() - field::kSmallSize ? field::kSmallSize : field::kSmallSize + extra;
}

Inode decode_inode(const Superblock& superblock, InodeNumber number, std::span<const std::byte> raw) {
  const auto fields = raw.first(inode_fields_size(raw));
  const auto mode = load_le<std::uint16_t>(raw, field::kMode);
  Inode inode;
  inode.number = number;
  inode.flags = load_le<std::uint32_t>(raw, field::kFlags);
  inode.links = load_le<std::uint16_t>(raw, field::kLinks);
  inode.generation = load_le<std::uint32_t>(raw, field::kGeneration);
  inode.xattr_block = with_high_half(raw, field::kXattrBlockLow, field::kXattrBlockHigh);
  inode.allocated = allocated_size(superblock, raw, inode.flags);
  std::ranges::copy(raw.subspan(field::kBlockMap, field::kBlockMapSize), inode.block_map.begin());
  inode.atime = decode_time(fields, field::kAtime, field::kAtimeExtra);
  inode.ctime = decode_time(fields, field::kCtime, field::kCtimeExtra);
  inode.crtime = decode_time(fields, field::kCrtime, field::kCrtimeExtra);

  Attributes& attributes = inode.attributes;
  attributes.type = file_type_of_mode(mode).value_or(FileType::kRegular);
  inode.size = content_size(superblock, raw, attributes.type);
  attributes.permissions = mode & layout::mode::kPermissions;
  attributes.uid =
      std::uint32_t{load_le<std::uint16_t>(raw, field::kUidHigh)} << 16 | load_le<std::uint16_t>(raw, field::kUidLow);
  attributes.gid =
      std::uint32_t{load_le<std::uint16_t>(raw, field::kGidHigh)} << 16 | load_le<std::uint16_t>(raw, field::kGidLow);
  attributes.mtime = decode_time(fields, field::kMtime, field::kMtimeExtra);
  if (attributes.type == FileType::kCharacterDevice || attributes.type == FileType::kBlockDevice)
    decode_device(inode.block_map, attributes);
  return inode;
}

bool is_short_symlink(const Inode& inode) {
  return inode.attributes.type == FileType::kSymlink && inode.size.value < field::kBlockMapSize;
}

bool inode_checksum_holds(const Superblock& superblock, InodeNumber number, std::span<const std::byte> raw) {
  if (!superblock.has_metadata_checksums()) return true;
  const std::uint32_t wanted = checksum::inode(superblock.checksum_seed, number, raw);
  if (load_le<std::uint16_t>(raw, field::kChecksumLow) != (wanted & 0xFFFF)) return all_zero(raw);
  return !checksum::inode_checksum_is_wide(raw) || load_le<std::uint16_t>(raw, field::kChecksumHigh) == wanted >> 16;
}

}  // namespace dadi::fs
