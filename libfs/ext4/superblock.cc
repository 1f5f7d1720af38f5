#include "libfs/ext4/superblock.h"

#include <algorithm>
#include <bit>

#include "libformat/base/bytes.h"
#include "libformat/base/crc32c.h"
#include "libformat/base/endian.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

namespace super = layout::super;

constexpr std::uint32_t kKnownIncompatible =
    layout::incompatible::kFileType | layout::incompatible::kNeedsRecovery | layout::incompatible::kExtents |
    layout::incompatible::k64Bit | layout::incompatible::kFlexGroups | layout::incompatible::kXattrInodes |
    layout::incompatible::kChecksumSeed | layout::incompatible::kLargeDirectories;

// The unknown bits of `features`, by name where they have one.
std::string unknown_incompatible(std::uint32_t features) {
  constexpr std::pair<std::uint32_t, const char*> kNames[] = {
      {0x1, "compression"}, {0x8, "journal_dev"},    {0x10, "meta_bg"},    {0x100, "mmp"},
      {0x1000, "dirdata"},  {0x8000, "inline_data"}, {0x10000, "encrypt"}, {0x20000, "casefold"},
  };
  std::string text;
  std::uint32_t rest = features & ~kKnownIncompatible;
  for (const auto& [bit, name] : kNames) {
    if ((rest & bit) == 0) continue;
    text += fmt::format("{}{}", text.empty() ? "" : ", ", name);
    rest &= ~bit;
  }
  if (rest != 0) text += fmt::format("{}{:#x}", text.empty() ? "" : ", ", rest);
  return text;
}

std::uint64_t wide(std::span<const std::byte> raw, bool is_64bit, std::size_t low, std::size_t high) {
  const std::uint64_t upper = is_64bit ? load_le<std::uint32_t>(raw, high) : 0;
  return upper << 32 | load_le<std::uint32_t>(raw, low);
}

Error impossible(const char* field, std::uint64_t value) {
  return Error::corruption("superblock: impossible {}: {}", field, value);
}

Result<void> read_features(std::span<const std::byte> raw, Superblock& sb) {
  const auto revision = load_le<std::uint32_t>(raw, super::kRevision);
  if (revision > 1) return Error::unsupported("superblock: revision {}", revision);
  if (revision == 1) {
    sb.compatible = load_le<std::uint32_t>(raw, super::kCompatible);
    sb.incompatible = load_le<std::uint32_t>(raw, super::kIncompatible);
    sb.read_only = load_le<std::uint32_t>(raw, super::kReadOnly);
  }
  if ((sb.incompatible & ~kKnownIncompatible) != 0)
    return Error::unsupported("file system features not handled: {}", unknown_incompatible(sb.incompatible));
  if (sb.has_read_only(layout::read_only::kBigAlloc)) return Error::unsupported("file system feature bigalloc");
  if (sb.has_metadata_checksums() && load_le<std::uint8_t>(raw, super::kChecksumType) != super::kChecksumTypeCrc32c)
    return Error::unsupported("superblock: checksum type {}", load_le<std::uint8_t>(raw, super::kChecksumType));

  sb.first_inode = revision == 0 ? layout::reserved_inode::kFirstFree : load_le<std::uint32_t>(raw, super::kFirstInode);
  sb.inode_size = revision == 0 ? layout::inode::kSmallSize : load_le<std::uint16_t>(raw, super::kInodeSize);
  sb.descriptor_size =
      sb.has_incompatible(layout::incompatible::k64Bit) ? load_le<std::uint16_t>(raw, super::kDescriptorSize) : 32;
  return {};
}

void read_numbers(std::span<const std::byte> raw, Superblock& sb) {
  const bool is_64bit = sb.has_incompatible(layout::incompatible::k64Bit);
  std::ranges::copy(raw.subspan(super::kUuid, sb.uuid.size()), sb.uuid.begin());
  sb.label = as_text(raw.subspan(super::kLabel, 16));
  sb.label.resize(std::min(sb.label.size(), sb.label.find('\0')));
  sb.block_count = wide(raw, is_64bit, super::kBlockCountLow, super::kBlockCountHigh);
  sb.reserved_block_count = wide(raw, is_64bit, super::kReservedBlockCountLow, super::kReservedBlockCountHigh);
  sb.free_block_count = wide(raw, is_64bit, super::kFreeBlockCountLow, super::kFreeBlockCountHigh);
  sb.inode_count = load_le<std::uint32_t>(raw, super::kInodeCount);
  sb.free_inode_count = load_le<std::uint32_t>(raw, super::kFreeInodeCount);
  sb.first_data_block = load_le<std::uint32_t>(raw, super::kFirstDataBlock);
  sb.blocks_per_group = load_le<std::uint32_t>(raw, super::kBlocksPerGroup);
  sb.inodes_per_group = load_le<std::uint32_t>(raw, super::kInodesPerGroup);
  sb.reserved_gdt_blocks = load_le<std::uint16_t>(raw, super::kReservedGdtBlocks);
  sb.flags = load_le<std::uint32_t>(raw, super::kFlags);
  sb.state = load_le<std::uint16_t>(raw, super::kState);
  sb.last_orphan = load_le<std::uint32_t>(raw, super::kLastOrphan);
  sb.journal_inode = load_le<std::uint32_t>(raw, super::kJournalInode);
  sb.orphan_file_inode = load_le<std::uint32_t>(raw, super::kOrphanFileInode);
  for (std::size_t i = 0; i < sb.backup_groups.size(); ++i)
    sb.backup_groups[i] = load_le<std::uint32_t>(raw, super::kBackupGroups + 4 * i);
  for (std::size_t i = 0; i < sb.hash_seed.size(); ++i)
    sb.hash_seed[i] = load_le<std::uint32_t>(raw, super::kHashSeed + 4 * i);
  sb.default_hash_version = load_le<std::uint8_t>(raw, super::kDefaultHashVersion);
  sb.checksum_seed = sb.has_incompatible(layout::incompatible::kChecksumSeed)
                         ? load_le<std::uint32_t>(raw, super::kChecksumSeed)
                         : crc32c_raw(sb.uuid, ~std::uint32_t{0});
}

// Sizes that the others are measured in.
Result<void> check_units(std::span<const std::byte> raw, Superblock& sb) {
  const auto log_block_size = load_le<std::uint32_t>(raw, super::kLogBlockSize);
  if (log_block_size > 6) return impossible("block size, log2 of KiB", log_block_size);
  sb.block_size = 1024U << log_block_size;
  if (const auto log_cluster_size = load_le<std::uint32_t>(raw, super::kLogClusterSize);
      log_cluster_size != log_block_size)
    return impossible("cluster size, log2 of KiB", log_cluster_size);
  if (sb.inode_size < layout::inode::kSmallSize || sb.inode_size > sb.block_size || !std::has_single_bit(sb.inode_size))
    return impossible("inode size", sb.inode_size);
  const bool is_64bit = sb.has_incompatible(layout::incompatible::k64Bit);
  if (sb.descriptor_size < (is_64bit ? 64U : 32U) || sb.descriptor_size > 1024 ||
      !std::has_single_bit(sb.descriptor_size))
    return impossible("size of group descriptors", sb.descriptor_size);
  if (sb.first_data_block != (sb.block_size == 1024 ? 1U : 0U)) return impossible("first block", sb.first_data_block);
  if (sb.reserved_gdt_blocks > sb.block_size / 4)
    return impossible("reserved descriptor blocks", sb.reserved_gdt_blocks);
  return {};
}

Result<void> check_groups(Superblock& sb, Bytes device_size) {
  if (sb.block_count <= sb.first_data_block) return impossible("number of blocks", sb.block_count);
  if (sb.block_count > device_size.value / sb.block_size)
    return Error::corruption("superblock: {} blocks of {} bytes on a device of {} bytes", sb.block_count, sb.block_size,
                             device_size.value);
  if (sb.blocks_per_group < 8 || sb.blocks_per_group > 8 * sb.block_size || sb.blocks_per_group % 8 != 0)
    return impossible("blocks per group", sb.blocks_per_group);
  const std::uint32_t inodes_per_block = sb.block_size / sb.inode_size;
  if (sb.inodes_per_group < inodes_per_block || sb.inodes_per_group > 8 * sb.block_size ||
      sb.inodes_per_group % inodes_per_block != 0 || sb.inodes_per_group % 8 != 0)
    return impossible("inodes per group", sb.inodes_per_group);

  const std::uint64_t groups = divide_up(sb.block_count - sb.first_data_block, sb.blocks_per_group);
  if (groups > UINT32_MAX || groups * sb.inodes_per_group != sb.inode_count)
    return impossible("number of inodes", sb.inode_count);
  sb.group_count = static_cast<std::uint32_t>(groups);  // no more than inode_count
  if (sb.first_inode < layout::reserved_inode::kFirstFree || sb.first_inode > sb.inode_count)
    return impossible("first inode", sb.first_inode);
  const std::uint64_t head = 1 + std::uint64_t{sb.descriptor_blocks()} + sb.reserved_gdt_blocks;
  if (head >= std::min<std::uint64_t>(sb.blocks_per_group, sb.block_count))
    return Error::corruption("superblock: {} blocks of group descriptors do not fit group 0", head - 1);
  return {};
}

}  // namespace

Result<Superblock> Superblock::parse(std::span<const std::byte> raw, Bytes device_size) {
  if (raw.size() < layout::kSuperblockSize) return Error::invalid_argument("a superblock of {} bytes", raw.size());
  if (const auto magic = load_le<std::uint16_t>(raw, super::kMagic); magic != super::kMagicValue)
    return Error::corruption("no ext4 file system here: the superblock's magic is {:#06x}", magic);
  Superblock sb;
  DADI_CHECK(read_features(raw, sb));
  read_numbers(raw, sb);
  DADI_CHECK(check_units(raw, sb));
  DADI_CHECK(check_groups(sb, device_size));
  return sb;
}

bool Superblock::has_metadata_checksums() const {
  return has_read_only(layout::read_only::kMetadataChecksums);
}

bool Superblock::has_group_checksums() const {
  return has_read_only(layout::read_only::kMetadataChecksums | layout::read_only::kGroupChecksums);
}

bool Superblock::group_has_superblock(std::uint32_t group) const {
  if (group == 0) return true;
  if (has_compatible(layout::compatible::kSparseSuper2))
    return std::ranges::find(backup_groups, group) != backup_groups.end();
  if (group == 1 || !has_read_only(layout::read_only::kSparseSuper)) return true;
  for (const std::uint32_t base : {3U, 5U, 7U}) {
    std::uint64_t power = base;
    while (power < group) power *= base;
    if (power == group) return true;
  }
  return false;
}

std::uint32_t Superblock::group_block_count(std::uint32_t group) const {
  const std::uint64_t first = group_first_block(group);
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(blocks_per_group, block_count - first));
}

std::uint32_t Superblock::descriptor_blocks() const {
  return static_cast<std::uint32_t>(divide_up(std::uint64_t{group_count} * descriptor_size, block_size));
}

std::uint32_t Superblock::inode_table_blocks() const {
  return static_cast<std::uint32_t>(std::uint64_t{inodes_per_group} * inode_size / block_size);
}

}  // namespace dadi::fs
