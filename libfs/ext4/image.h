// An ext4 file system's superblock and the raw structures that it leads to, by number: what both the reader (Volume)
// and the verifier (libfs/check) are built on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/blob/block_reader.h"
#include "libfs/ext4/superblock.h"

namespace dadi::fs {

// Where a group's parts are, and what it says about itself.
struct GroupDescriptor {
  std::uint64_t block_bitmap = 0;  // block numbers, not checked
  std::uint64_t inode_bitmap = 0;
  std::uint64_t inode_table = 0;
  std::uint32_t free_blocks = 0;
  std::uint32_t free_inodes = 0;
  std::uint32_t directories = 0;
  std::uint32_t unused_inodes = 0;  // at the table's end, never written: zero where groups have no checksums
  std::uint16_t flags = 0;          // group::… of layout.h
  std::uint32_t block_bitmap_checksum = 0;
  std::uint32_t inode_bitmap_checksum = 0;
  std::uint16_t checksum = 0;

  bool has(std::uint16_t flag) const { return (flags & flag) != 0; }

  // REQUIRES: raw.size() is the superblock's descriptor_size.
  static GroupDescriptor parse(const Superblock& superblock, std::span<const std::byte> raw);
};

// Thread-safe: any number of threads may read at once.
class Image {
 public:
  // Errors: corruption, unsupported: those of Superblock::parse.
  static Result<std::unique_ptr<const Image>> open(std::shared_ptr<const BlockReader> device,
                                                   const ReadContext& context = {});

  const Superblock& superblock() const { return superblock_; }
  const BlockReader& device() const { return *device_; }
  std::uint32_t block_size() const { return superblock_.block_size; }

  // Whether all of [first, first + count) are blocks of the file system that could hold something of a file.
  bool holds(std::uint64_t first, std::uint64_t count) const;

  // Fills `out` from block `first` on. REQUIRES: out.size() is a multiple of 512.
  // Errors: corruption (past the file system's end), those of the device.
  Result<void> read(std::uint64_t first, std::span<std::byte> out) const;
  Result<std::vector<std::byte>> read_block(std::uint64_t number) const;

  // The 1024 bytes that the superblock was parsed from.
  Result<std::vector<std::byte>> raw_superblock() const;

  // REQUIRES: group < group_count. The descriptor's checksum is not looked at.
  Result<GroupDescriptor> group(std::uint32_t group) const;

  // The bytes of inode `number`, as they lie in its group's table. REQUIRES: 1 <= number <= inode_count.
  // Errors: corruption (a table that is not within the file system), those of the device.
  Result<std::vector<std::byte>> raw_inode(std::uint32_t number) const;

 private:
  Image(std::shared_ptr<const BlockReader> device, Superblock superblock, const ReadContext& context)
      : device_(std::move(device)), superblock_(std::move(superblock)), context_(context) {}

  // `size` bytes at `offset` within block `block`, which they do not leave.
  Result<std::vector<std::byte>> read_within(std::uint64_t block, std::size_t offset, std::size_t size) const;

  std::shared_ptr<const BlockReader> device_;
  Superblock superblock_;
  ReadContext context_;
};

}  // namespace dadi::fs
