// The superblock of an ext4 file system, as far as reading needs it, checked against its own limits and the device.
// Source: Linux kernel, Documentation/filesystems/ext4/super.rst.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi::fs {

// A plain value; every number in it has been checked to make sense together with the others, so that later arithmetic
// cannot overflow: all blocks lie on the device, a block is 1 to 64 KiB, the group descriptors lie within group 0.
struct Superblock {
  // Reads the superblock from the 1024 bytes at offset 1024 of a device of `device_size`. Its checksum is not looked at
  // (see checksum.h), so that damage behind it can be told.
  // Errors: corruption (no ext4 here, or fields that contradict each other or the device), unsupported (features that
  // change the layout in ways not known here; the features are named).
  static Result<Superblock> parse(std::span<const std::byte> raw, Bytes device_size);

  bool has_compatible(std::uint32_t feature) const { return (compatible & feature) != 0; }
  bool has_incompatible(std::uint32_t feature) const { return (incompatible & feature) != 0; }
  bool has_read_only(std::uint32_t feature) const { return (read_only & feature) != 0; }
  bool has_metadata_checksums() const;
  // Whether group descriptors carry checksums, and with them flags for uninitialised groups.
  bool has_group_checksums() const;
  // Whether group `group` begins with a copy of the superblock and the group descriptors.
  bool group_has_superblock(std::uint32_t group) const;

  std::uint64_t group_first_block(std::uint32_t group) const {
    return first_data_block + std::uint64_t{group} * blocks_per_group;
  }
  // Blocks in group `group`: all groups are alike except the last.
  std::uint32_t group_block_count(std::uint32_t group) const;
  // Blocks that the group descriptors take.
  std::uint32_t descriptor_blocks() const;
  // Blocks that one group's inode table takes.
  std::uint32_t inode_table_blocks() const;
  std::uint32_t reserved_gdt_blocks = 0;  // room after the descriptors for growth, in each copy

  std::array<std::byte, 16> uuid = {};
  std::string label;
  std::uint32_t block_size = 0;  // bytes
  std::uint64_t block_count = 0;
  std::uint64_t reserved_block_count = 0;
  std::uint64_t free_block_count = 0;  // as stated: the reference tools leave it stale
  std::uint32_t inode_count = 0;
  std::uint32_t free_inode_count = 0;  // as stated
  std::uint32_t first_data_block = 0;
  std::uint32_t blocks_per_group = 0;
  std::uint32_t inodes_per_group = 0;
  std::uint32_t group_count = 0;
  std::uint32_t inode_size = 0;       // bytes
  std::uint32_t descriptor_size = 0;  // bytes
  std::uint32_t first_inode = 0;      // the first that is not reserved
  std::uint32_t compatible = 0;       // feature sets: see layout.h
  std::uint32_t incompatible = 0;
  std::uint32_t read_only = 0;
  std::uint32_t flags = 0;
  std::uint16_t state = 0;
  std::uint32_t last_orphan = 0;
  std::uint32_t journal_inode = 0;
  std::uint32_t orphan_file_inode = 0;
  std::array<std::uint32_t, 2> backup_groups = {};  // of sparse_super2
  std::array<std::uint32_t, 4> hash_seed = {};      // of directory hashes
  std::uint8_t default_hash_version = 0;
  std::uint32_t checksum_seed = 0;  // what every metadata checksum starts from, wherever it was stated
};

}  // namespace dadi::fs
