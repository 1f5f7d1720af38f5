#include "tests/fs/ext4_damager.h"

#include <gtest/gtest.h>

#include "libfs/ext4/checksum.h"
#include "libfs/ext4/directory.h"
#include "libfs/ext4/layout.h"
#include "tests/fs/ext4_fixture.h"

namespace dadi::fs::test {

Damager::Damager(const std::vector<std::byte>& pristine) : bytes_(pristine) {
  const auto device = std::make_shared<MemoryDevice>(pristine);
  image_ = std::move(*Image::open(device));
  volume_ = *Volume::open(device);
}

Inode Damager::inode(std::string_view path) const {
  return inode_at(*volume_, path);
}

std::uint64_t Damager::content_block(const Inode& inode, std::uint64_t logical) const {
  const auto extents = volume_->extents(inode);
  for (const FileExtent& run : *extents)
    if (logical >= run.logical && logical < run.logical + run.count) return run.physical + logical - run.logical;
  ADD_FAILURE() << "inode " << inode.number << " has no block " << logical;
  return 0;
}
std::uint64_t Damager::content_block(std::string_view path, std::uint64_t logical) const {
  return content_block(inode(path), logical);
}

GroupDescriptor Damager::group(std::uint32_t number) const {
  return *image_->group(number);
}

GroupDescriptor Damager::damaged_group(std::uint32_t number) {
  return GroupDescriptor::parse(superblock(), raw_group(number));
}

std::span<std::byte> Damager::block(std::uint64_t number) {
  return std::span(bytes_).subspan(number * superblock().block_size, superblock().block_size);
}
std::span<std::byte> Damager::raw_superblock() {
  return std::span(bytes_).subspan(layout::kSuperblockOffset, layout::kSuperblockSize);
}
std::span<std::byte> Damager::raw_group(std::uint32_t number) {
  const std::size_t start = std::size_t{superblock().first_data_block + 1} * superblock().block_size;
  const std::size_t size = superblock().descriptor_size;
  return std::span(bytes_).subspan(start + number * size, size);
}
std::span<std::byte> Damager::raw_inode(InodeNumber number) {
  const std::uint32_t index = (number - 1) % superblock().inodes_per_group;
  const std::uint64_t table = group((number - 1) / superblock().inodes_per_group).inode_table;
  return std::span(bytes_).subspan(table * superblock().block_size + std::size_t{index} * superblock().inode_size,
                                   superblock().inode_size);
}

Damager::EntryPlace Damager::find_entry(std::string_view directory, std::string_view name) const {
  EntryPlace found;
  const auto visit = [&](std::uint64_t logical, std::uint64_t physical, std::span<const std::byte> block) {
    return walk_entries(block, [&](const RawEntry& entry) -> Result<void> {
      if (entry.inode != 0 && entry.name == name) found = {physical, logical, entry.offset};
      return {};
    });
  };
  const auto refuse = [](Error error) -> Result<void> { return error; };
  EXPECT_TRUE(walk_directory_blocks(*image_, inode(directory), {}, visit, refuse));
  EXPECT_NE(found.block, 0U) << name;
  return found;
}

void Damager::flip_bit(std::uint64_t number, std::uint64_t bit) {
  block(number)[bit / 8] ^= static_cast<std::byte>(1U << bit % 8);
}

std::uint32_t Damager::seed_of(const Inode& inode) const {
  return checksum::inode_seed(superblock().checksum_seed, inode.number, inode.generation);
}

void Damager::seal_superblock() {
  if (!superblock().has_metadata_checksums()) return;
  store_le<std::uint32_t>(raw_superblock(), layout::super::kChecksum, checksum::superblock(raw_superblock()));
}
void Damager::seal_group(std::uint32_t number) {
  if (!superblock().has_group_checksums()) return;
  const auto raw = raw_group(number);
  store_le<std::uint16_t>(raw, layout::group::kChecksum, checksum::group_descriptor(superblock(), number, raw));
}
void Damager::seal_inode(InodeNumber number) {
  if (!superblock().has_metadata_checksums()) return;
  const auto raw = raw_inode(number);
  const std::uint32_t sum = checksum::inode(superblock().checksum_seed, number, raw);
  store_le<std::uint16_t>(raw, layout::inode::kChecksumLow, static_cast<std::uint16_t>(sum));
  if (checksum::inode_checksum_is_wide(raw))
    store_le<std::uint16_t>(raw, layout::inode::kChecksumHigh, static_cast<std::uint16_t>(sum >> 16));
}
void Damager::seal_block_bitmap(std::uint32_t number) {
  if (!superblock().has_metadata_checksums()) return;
  const auto bits = block(damaged_group(number).block_bitmap).first(superblock().blocks_per_group / 8);
  const std::uint32_t sum = checksum::bitmap(superblock(), bits);
  set_group<std::uint16_t>(number, layout::group::kBlockBitmapChecksumLow, static_cast<std::uint16_t>(sum));
  if (superblock().descriptor_size >= 64)
    set_group<std::uint16_t>(number, layout::group::kBlockBitmapChecksumHigh, static_cast<std::uint16_t>(sum >> 16));
}
void Damager::seal_inode_bitmap(std::uint32_t number) {
  if (!superblock().has_metadata_checksums()) return;
  const auto bits = block(damaged_group(number).inode_bitmap).first(superblock().inodes_per_group / 8);
  const std::uint32_t sum = checksum::bitmap(superblock(), bits);
  set_group<std::uint16_t>(number, layout::group::kInodeBitmapChecksumLow, static_cast<std::uint16_t>(sum));
  if (superblock().descriptor_size >= 64)
    set_group<std::uint16_t>(number, layout::group::kInodeBitmapChecksumHigh, static_cast<std::uint16_t>(sum >> 16));
}
void Damager::seal_extent_block(const Inode& inode, std::uint64_t number) {
  if (!superblock().has_metadata_checksums()) return;
  const auto node = block(number);
  const std::size_t maximum = load_le<std::uint16_t>(node, layout::extent::kMaximum);
  store_le<std::uint32_t>(node, layout::extent::kHeaderSize + maximum * layout::extent::kRecordSize,
                          checksum::extent_block(seed_of(inode), node));
}
void Damager::seal_directory_block(std::string_view directory, std::uint64_t logical) {
  if (!superblock().has_metadata_checksums()) return;
  const Inode inode = this->inode(directory);
  if (logical == 0 && (inode.flags & layout::inode_flag::kIndexed) != 0) return seal_index_block(directory, 0);
  const auto raw = block(content_block(inode, logical));
  store_le<std::uint32_t>(raw, raw.size() - layout::dirent::kTailSize + layout::dirent::kTailChecksum,
                          checksum::directory_block(seed_of(inode), raw));
}
void Damager::seal_index_block(std::string_view directory, std::uint64_t logical) {
  if (!superblock().has_metadata_checksums()) return;
  const Inode inode = this->inode(directory);
  const auto raw = block(content_block(inode, logical));
  const std::size_t records = logical == 0 ? layout::htree::kRootEntries : layout::htree::kNodeEntries;
  const std::size_t limit = load_le<std::uint16_t>(raw, records + layout::htree::kLimit);
  const std::size_t tail = records + limit * layout::htree::kRecordSize;
  const std::size_t count = load_le<std::uint16_t>(raw, records + layout::htree::kCount);
  if (count > limit || tail + layout::htree::kTailSize > raw.size()) return;  // such a block can have no checksum
  store_le<std::uint32_t>(raw, tail + layout::htree::kTailChecksum,
                          checksum::index_block(seed_of(inode), raw, records));
}
void Damager::seal_xattr_block(std::uint64_t number) {
  if (!superblock().has_metadata_checksums()) return;
  store_le<std::uint32_t>(block(number), layout::xattr::kChecksum,
                          checksum::xattr_block(superblock(), number, block(number)));
}

}  // namespace dadi::fs::test
