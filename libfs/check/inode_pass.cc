#include <algorithm>

#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"
#include "libfs/check/state.h"
#include "libfs/ext4/block_map.h"
#include "libfs/ext4/inode.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

namespace field = layout::inode;

void check_extra_size(CheckState& state, const Place& place, std::span<const std::byte> raw) {
  if (raw.size() == field::kSmallSize) return;
  const auto extra = load_le<std::uint16_t>(raw, field::kExtraSize);
  if (extra == 0 || (extra >= 4 && extra % 4 == 0 && extra <= raw.size() - field::kSmallSize)) return;
  state.findings.fault(place, "{} bytes of extra fields", extra);
}

// Fields that are zero unless a feature gives them a meaning.
void check_unused_fields(CheckState& state, const Place& place, std::span<const std::byte> raw, FileType type) {
  const Superblock& sb = state.superblock();
  if (load_le<std::uint32_t>(raw, field::kFragmentAddress) != 0)
    state.findings.fault(place, "the obsolete fragment address is not zero");
  if (!sb.has_read_only(layout::read_only::kHugeFiles) && load_le<std::uint16_t>(raw, field::kBlocksHigh) != 0)
    state.findings.fault(place, "the number of blocks has a high half, without the feature huge_file");
  if (!sb.has_incompatible(layout::incompatible::k64Bit) && load_le<std::uint16_t>(raw, field::kXattrBlockHigh) != 0)
    state.findings.fault(place, "the xattr block has a high half, without the feature 64bit");
  const bool may_be_large =
      type == FileType::kRegular ||
      (type == FileType::kDirectory && sb.has_incompatible(layout::incompatible::kLargeDirectories));
  if (!may_be_large && load_le<std::uint32_t>(raw, field::kSizeHigh) != 0)
    state.findings.fault(place, "the size has a high half");
}

void check_flags(CheckState& state, const Place& place, const Inode& inode) {
  const Superblock& sb = state.superblock();
  const auto is_set = [&](std::uint32_t flag) { return (inode.flags & flag) != 0; };
  const FileType type = inode.attributes.type;
  const bool has_content = type == FileType::kRegular || type == FileType::kDirectory || type == FileType::kSymlink;
  if (is_set(layout::inode_flag::kInlineData | layout::inode_flag::kEncrypted | layout::inode_flag::kVerity |
             layout::inode_flag::kCaseFolded | layout::inode_flag::kMagic))
    state.findings.fault(place, "flags {:#x}, without the features that they need", inode.flags);
  if (is_set(layout::inode_flag::kIndexed) &&
      (type != FileType::kDirectory || !sb.has_compatible(layout::compatible::kDirectoryIndex)))
    state.findings.fault(place, "marked as an indexed directory, which it cannot be");
  if (is_set(layout::inode_flag::kExtents) &&
      (!has_content || is_short_symlink(inode) || !sb.has_incompatible(layout::incompatible::kExtents)))
    state.findings.fault(place, "marked as having extents, which it cannot have");
  if (!is_set(layout::inode_flag::kExtents) && sb.has_incompatible(layout::incompatible::kExtents) &&
      (type == FileType::kRegular || type == FileType::kDirectory) && looks_like_extents(inode.block_map))
    state.findings.fault(place, "has extents, but is not marked so");
  if (type != FileType::kRegular && type != FileType::kDirectory &&
      is_set(layout::inode_flag::kImmutable | layout::inode_flag::kAppendOnly))
    state.findings.fault(place, "immutable or append-only, which it cannot be");
}

void count_kind(CheckFacts& facts, FileType type) {
  switch (type) {
    case FileType::kDirectory:
      ++facts.directories;
      return;
    case FileType::kRegular:
      ++facts.files;
      return;
    case FileType::kSymlink:
      ++facts.symlinks;
      return;
    default:
      ++facts.others;
  }
}

constexpr std::size_t kMostInodes = std::size_t{1} << 25;  // in use: bounds the memory for their records

// An inode that some directory should lead to.
Result<void> check_used_inode(CheckState& state, InodeNumber number, std::span<const std::byte> raw) {
  if (state.inodes.size() == kMostInodes) return Error::exhausted("more than {} inodes in use", kMostInodes);
  const Place place = Place::of_inode(number);
  const auto mode = load_le<std::uint16_t>(raw, field::kMode);
  const auto type = file_type_of_mode(mode);
  const Inode inode = decode_inode(state.superblock(), number, raw);
  state.inodes.push_back(
      {.number = number, .links_stated = load_le<std::uint16_t>(raw, field::kLinks), .type = inode.attributes.type});
  // The orphan file has no name.
  if (state.superblock().has_compatible(layout::compatible::kOrphanFile) &&
      number == state.superblock().orphan_file_inode)
    state.inodes.back().links_found = state.inodes.back().links_stated;
  if (const auto when = load_le<std::uint32_t>(raw, field::kDeletionTime); when != 0)
    state.findings.fault(place, "in use, but with a time of deletion ({})", when);
  check_extra_size(state, place, raw);
  if (!type) {
    state.findings.fault(place, "mode {:#o} is of no kind of file", mode);
    return {};
  }
  if (number == kRootInode && *type != FileType::kDirectory) state.findings.fault(place, "the root is not a directory");
  count_kind(state.facts, *type);
  check_unused_fields(state, place, raw, *type);
  check_flags(state, place, inode);
  if (*type == FileType::kDirectory) state.directories.push_back({.number = number});
  DADI_CHECK(check_xattrs(state, inode, raw));
  return check_content(state, inode);
}

// The others below the first free one have no name, and most of them nothing else. Their times say when mkfs ran.
Result<void> check_reserved_inode(CheckState& state, InodeNumber number, std::span<const std::byte> raw) {
  const Superblock& sb = state.superblock();
  if (number == layout::reserved_inode::kResize && sb.has_compatible(layout::compatible::kResizeInode))
    return check_resize_inode(state, raw);
  const Inode inode = decode_inode(sb, number, raw);
  if (number == layout::reserved_inode::kJournal && sb.has_compatible(layout::compatible::kHasJournal)) {
    DADI_CHECK(check_journal(state, inode));
    return check_content(state, inode);
  }
  const auto mode = load_le<std::uint16_t>(raw, field::kMode);
  if (number == layout::reserved_inode::kBootLoader && file_type_of_mode(mode) == FileType::kRegular)
    return check_content(state, inode);
  const bool is_of_bad_blocks = number == layout::reserved_inode::kBadBlocks;
  const bool is_owned =
      load_le<std::uint16_t>(raw, field::kUidLow) != 0 || load_le<std::uint16_t>(raw, field::kGidLow) != 0;
  if (is_of_bad_blocks && is_owned) state.findings.fault(Place::of_inode(number), "bad blocks have an owner");
  const bool has_bad_blocks = is_of_bad_blocks && mode == 0 && inode.links == 0 && inode.xattr_block == 0 &&
                              (inode.flags & layout::inode_flag::kInlineData) == 0 && !all_zero(inode.block_map);
  if (has_bad_blocks) return check_content(state, inode);
  const bool is_empty = mode == 0 && inode.links == 0 && inode.flags == 0 && inode.size.value == 0 &&
                        inode.allocated.value == 0 && inode.xattr_block == 0 && all_zero(inode.block_map) &&
                        load_le<std::uint32_t>(raw, field::kSizeHigh) == 0;
  if (!is_empty) state.findings.fault(Place::of_inode(number), "a reserved inode is not empty");
  return {};
}

Result<void> check_inode(CheckState& state, InodeNumber number, std::span<const std::byte> raw) {
  const Superblock& sb = state.superblock();
  if (!inode_checksum_holds(sb, number, raw))
    state.findings.fault(Place::of_inode(number), "it does not match its checksum");
  if (number < sb.first_inode && number != kRootInode) return check_reserved_inode(state, number, raw);
  if (load_le<std::uint16_t>(raw, field::kLinks) != 0) return check_used_inode(state, number, raw);
  if (load_le<std::uint16_t>(raw, field::kMode) != 0 && load_le<std::uint32_t>(raw, field::kDeletionTime) == 0)
    state.findings.fault(Place::of_inode(number), "deleted, but without a time of deletion");
  return {};
}

// How many inodes of a group were ever in use.
std::uint32_t initialized_inodes(const CheckState& state, std::uint32_t number) {
  const std::uint32_t all = state.superblock().inodes_per_group;
  const GroupDescriptor& group = state.groups[number];
  if (!state.group_is_readable[number]) return 0;
  if (!state.superblock().has_group_checksums()) return all;
  if (group.has(layout::group::kInodesUninitialized)) return 0;
  return all - std::min(all, group.unused_inodes);
}

// How many bytes from block `block` on the device knows to be zeros without reading them, in whole blocks.
Result<std::uint64_t> known_zeros(const Image& image, std::uint64_t block) {
  const Sectors at = whole_sectors(Bytes{block * image.block_size()});
  DADI_TRY(const Extent extent, image.device().next_extent(at));
  if (extent.kind == Extent::Kind::kData) return 0;
  const std::uint64_t sectors_per_block = image.block_size() / kSectorSize;
  return extent.length.value / sectors_per_block * image.block_size();
}

Result<void> check_group(CheckState& state, std::uint32_t group) {
  const Superblock& sb = state.superblock();
  const std::uint64_t size = std::uint64_t{initialized_inodes(state, group)} * sb.inode_size;
  std::vector<std::byte> buffer;
  for (std::uint64_t done = 0; done < size;) {
    const std::uint64_t block = state.groups[group].inode_table + done / sb.block_size;
    DADI_TRY(const std::uint64_t zeros, known_zeros(state.image, block));
    if (zeros > 0) {
      done += zeros;
      continue;
    }
    constexpr std::uint64_t kReadAhead = std::uint64_t{64} << 10;
    buffer.resize(std::min(kReadAhead, round_up(size - done, sb.block_size)));
    DADI_CHECK(state.image.read(block, buffer));
    const std::size_t count = std::min<std::uint64_t>(buffer.size(), size - done) / sb.inode_size;
    for (std::size_t i = 0; i < count; ++i) {
      const auto raw = std::span<const std::byte>(buffer).subspan(i * sb.inode_size, sb.inode_size);
      if (all_zero(raw)) continue;
      const auto index = static_cast<std::uint32_t>(done / sb.inode_size + i);
      DADI_CHECK(check_inode(state, group * sb.inodes_per_group + index + 1, raw));
    }
    done += buffer.size();
  }
  return {};
}

void check_shared_xattr_blocks(CheckState& state) {
  for (const auto& [number, use] : state.xattr_blocks) {
    if (use.references_found != use.references_stated)
      state.findings.fault(Place::block(number), "an xattr block of {} inodes says it has {}", use.references_found,
                           use.references_stated);
  }
}

}  // namespace

Result<void> check_inodes(CheckState& state) {
  for (std::uint32_t group = 0; group < state.superblock().group_count; ++group) DADI_CHECK(check_group(state, group));
  check_shared_xattr_blocks(state);
  if (state.find(kRootInode) == nullptr)
    state.findings.fault(Place::of_inode(kRootInode), "there is no root directory");
  return {};
}

}  // namespace dadi::fs
