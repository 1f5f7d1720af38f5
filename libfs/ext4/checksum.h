// The checksums that ext4's metadata carries. Each function computes what the structure should hold; comparing, and
// knowing whether the file system has checksums at all, is the caller's.
//
// With the metadata_csum feature these are CRC-32C without the final xor, started from the file system's seed; group
// descriptors of older file systems (uninit_bg) have a CRC-16. Source: Linux kernel, Documentation/filesystems/ext4/
// checksums.rst. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "libfs/ext4/superblock.h"

namespace dadi::fs::checksum {

// Of the 1024 bytes of a superblock.
std::uint32_t superblock(std::span<const std::byte> raw);

// Of a group descriptor, by whichever of the two kinds the file system uses. REQUIRES: has_group_checksums().
std::uint16_t group_descriptor(const Superblock& superblock, std::uint32_t group, std::span<const std::byte> raw);

// Of a bitmap: `raw` is the part with a bit for each block or inode of a group, without padding.
std::uint32_t bitmap(const Superblock& superblock, std::span<const std::byte> raw);

// What the checksums of all blocks that belong to an inode start from. `seed` is the file system's.
std::uint32_t inode_seed(std::uint32_t seed, std::uint32_t number, std::uint32_t generation);

// Of an inode, as large as the file system's inodes are. Where the inode has no room for the high half, only the low
// 16 bits count: see inode_checksum_is_wide. `seed` is the file system's.
std::uint32_t inode(std::uint32_t seed, std::uint32_t number, std::span<const std::byte> raw);
bool inode_checksum_is_wide(std::span<const std::byte> raw);

// Of a node of an extent tree that fills a block. REQUIRES: the header's maximum fits the block.
std::uint32_t extent_block(std::uint32_t inode_seed, std::span<const std::byte> block);

// Of a directory block with entries, up to its tail.
std::uint32_t directory_block(std::uint32_t inode_seed, std::span<const std::byte> block);

// Of a block of a directory's index, whose records begin at `records`. REQUIRES: limit and tail fit the block, and
// count is at most limit.
std::uint32_t index_block(std::uint32_t inode_seed, std::span<const std::byte> block, std::size_t records);

// Of the xattr block at block number `number`.
std::uint32_t xattr_block(const Superblock& superblock, std::uint64_t number, std::span<const std::byte> block);

}  // namespace dadi::fs::checksum
