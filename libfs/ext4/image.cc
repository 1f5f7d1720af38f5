#include "libfs/ext4/image.h"

#include "libformat/base/endian.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

Sectors sector_of(std::uint64_t block, std::uint32_t block_size) {
  return {block * (block_size / kSectorSize)};
}

}  // namespace

GroupDescriptor GroupDescriptor::parse(const Superblock& superblock, std::span<const std::byte> raw) {
  namespace field = layout::group;
  const bool is_wide = superblock.descriptor_size >= 64;
  const auto block_number = [&](std::size_t low, std::size_t high) {
    const std::uint64_t upper = is_wide ? load_le<std::uint32_t>(raw, high) : 0;
    return upper << 32 | load_le<std::uint32_t>(raw, low);
  };
  const auto number = [&](std::size_t low, std::size_t high) {
    const std::uint32_t upper = is_wide ? load_le<std::uint16_t>(raw, high) : 0;
    return upper << 16 | load_le<std::uint16_t>(raw, low);
  };
  GroupDescriptor group;
  group.block_bitmap = block_number(field::kBlockBitmapLow, field::kBlockBitmapHigh);
  group.inode_bitmap = block_number(field::kInodeBitmapLow, field::kInodeBitmapHigh);
  group.inode_table = block_number(field::kInodeTableLow, field::kInodeTableHigh);
  group.free_blocks = number(field::kFreeBlocksLow, field::kFreeBlocksHigh);
  group.free_inodes = number(field::kFreeInodesLow, field::kFreeInodesHigh);
  group.directories = number(field::kDirectoriesLow, field::kDirectoriesHigh);
  group.unused_inodes = number(field::kUnusedInodesLow, field::kUnusedInodesHigh);
  group.flags = load_le<std::uint16_t>(raw, field::kFlags);
  group.block_bitmap_checksum = number(field::kBlockBitmapChecksumLow, field::kBlockBitmapChecksumHigh);
  group.inode_bitmap_checksum = number(field::kInodeBitmapChecksumLow, field::kInodeBitmapChecksumHigh);
  group.checksum = load_le<std::uint16_t>(raw, field::kChecksum);
  return group;
}

Result<std::unique_ptr<const Image>> Image::open(std::shared_ptr<const BlockReader> device,
                                                 const ReadContext& context) {
  const Bytes size = to_bytes(device->size());
  if (size.value < layout::kSuperblockOffset + layout::kSuperblockSize)
    return Error::corruption("no ext4 file system here: the device has {} bytes", size.value);
  std::vector<std::byte> raw(layout::kSuperblockSize);
  DADI_CHECK(device->read_at(whole_sectors(Bytes{layout::kSuperblockOffset}), raw, context).context("superblock"));
  DADI_TRY(Superblock superblock, Superblock::parse(raw, size));
  return std::unique_ptr<const Image>(new Image(std::move(device), std::move(superblock), context));
}

bool Image::holds(std::uint64_t first, std::uint64_t count) const {
  return first > superblock_.first_data_block && first < superblock_.block_count &&
         count <= superblock_.block_count - first;
}

Result<void> Image::read(std::uint64_t first, std::span<std::byte> out) const {
  const std::uint64_t blocks = divide_up(out.size(), block_size());
  if (first >= superblock_.block_count || blocks > superblock_.block_count - first)
    return Error::corruption("block {} is past the end of the file system", first);
  return device_->read_at(sector_of(first, block_size()), out, context_).context("block {}", first);
}

Result<std::vector<std::byte>> Image::read_block(std::uint64_t number) const {
  std::vector<std::byte> block(block_size());
  DADI_CHECK(read(number, block));
  return block;
}

Result<std::vector<std::byte>> Image::read_within(std::uint64_t block, std::size_t offset, std::size_t size) const {
  if (block >= superblock_.block_count) return Error::corruption("block {} is past the end of the file system", block);
  const std::size_t skipped = offset / kSectorSize * kSectorSize;
  std::vector<std::byte> sectors(round_up(offset + size, kSectorSize) - skipped);
  const Sectors at = sector_of(block, block_size()) + whole_sectors(Bytes{skipped});
  DADI_CHECK(device_->read_at(at, sectors, context_).context("block {}", block));
  const auto wanted = std::span<const std::byte>(sectors).subspan(offset - skipped, size);
  return std::vector<std::byte>(wanted.begin(), wanted.end());
}

Result<std::vector<std::byte>> Image::raw_superblock() const {
  std::vector<std::byte> raw(layout::kSuperblockSize);
  DADI_CHECK(device_->read_at(whole_sectors(Bytes{layout::kSuperblockOffset}), raw, context_).context("superblock"));
  return raw;
}

Result<GroupDescriptor> Image::group(std::uint32_t group) const {
  const std::uint32_t per_block = block_size() / superblock_.descriptor_size;
  const std::uint64_t block = std::uint64_t{superblock_.first_data_block} + 1 + group / per_block;
  const std::size_t offset = std::size_t{group % per_block} * superblock_.descriptor_size;
  DADI_TRY(const auto raw, read_within(block, offset, superblock_.descriptor_size).context("group {}", group));
  return GroupDescriptor::parse(superblock_, raw);
}

Result<std::vector<std::byte>> Image::raw_inode(std::uint32_t number) const {
  const std::uint32_t index = (number - 1) % superblock_.inodes_per_group;
  DADI_TRY(const GroupDescriptor group, this->group((number - 1) / superblock_.inodes_per_group));
  if (!holds(group.inode_table, superblock_.inode_table_blocks()))
    return Error::corruption("the inode table of inode {} is not within the file system", number);
  const std::uint32_t per_block = block_size() / superblock_.inode_size;
  return read_within(group.inode_table + index / per_block, std::size_t{index % per_block} * superblock_.inode_size,
                     superblock_.inode_size);
}

}  // namespace dadi::fs
