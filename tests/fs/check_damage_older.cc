// Damage to file systems with older features than those that dadi writes.
#include <gtest/gtest.h>

#include "libfs/ext4/layout.h"
#include "tests/fs/check_damage.h"

namespace dadi::fs::test {
namespace {

namespace super = layout::super;
namespace group = layout::group;
namespace inode = layout::inode;
namespace extent = layout::extent;
namespace dirent = layout::dirent;
namespace htree = layout::htree;

// A file system of several groups with small blocks, a journal, room to grow, CRC-16 and an index of two levels.
const Damage kClassicDamage[] = {
    {"descriptor checksum", "the descriptor does not match its checksum",
     [](Damager& d) { store_le<u16>(d.raw_group(1), group::kChecksum, 1); }},
    {"a used group never initialised", "the block bitmap",
     [](Damager& d) {
       const auto target = static_cast<u32>((d.content_block("blob", 5) - 1) / d.superblock().blocks_per_group);
       d.set_group<u16>(target, group::kFlags, group::kBlocksUninitialized);
     }},
    {"the journal's superblock", "the journal has no superblock",
     [](Damager& d) {
       const u32 first = load_le<u32>(d.raw_inode(8), inode::kBlockMap + extent::kHeaderSize + extent::kStartLow);
       store_le<u32>(d.block(first), 0, 0);
     }},
    {"the journal's mode", "the journal is not a regular file",
     [](Damager& d) { d.set_inode<u16>(InodeNumber{8}, inode::kMode, 0x4180); }},
    {"the journal's number", "the journal is inode 12",
     [](Damager& d) { d.set_superblock<u32>(super::kJournalInode, 12); }},
    {"no list of room for descriptors", "no list of blocks",
     [](Damager& d) { d.set_inode<u32>(InodeNumber{7}, inode::kBlockMap + 4 * 13, 0); }},
    {"a list of room for descriptors", "is missing from the list",
     [](Damager& d) {
       const u32 list = load_le<u32>(d.raw_inode(7), inode::kBlockMap + 4 * 13);
       store_le<u32>(d.block(list), 4 * d.superblock().descriptor_blocks(), 1);
     }},
    {"room for descriptors elsewhere", "blocks beside the list",
     [](Damager& d) { d.set_inode<u32>(InodeNumber{7}, inode::kBlockMap + 4, 30000); }},
    {"a list of copies", "a copy is missing from the list",
     [](Damager& d) { store_le<u32>(d.block(2 + d.superblock().descriptor_blocks()), 0, 1); }},
    {"an index node that is none", "should be a node of it",
     [](Damager& d) {
       const u32 node = load_le<u32>(d.block(d.content_block("large", 0)), htree::kRootEntries + htree::kBlock);
       store_le<u32>(d.block(d.content_block("large", node)), dirent::kInode, d.number("etc/one"));
     }},
    {"an index node's limit", "index records stated as 7",
     [](Damager& d) {
       const u32 node = load_le<u32>(d.block(d.content_block("large", 0)), htree::kRootEntries + htree::kBlock);
       store_le<u16>(d.block(d.content_block("large", node)), htree::kNodeEntries + htree::kLimit, 7);
     }},
    {"a journal to replay", "the journal was not replayed",
     [](Damager& d) {
       d.set_superblock<u32>(super::kIncompatible, d.superblock().incompatible | layout::incompatible::kNeedsRecovery);
     },
     true},
    {"a journal to replay and no journal", "a journal to replay",
     [](Damager& d) {
       d.set_superblock<u32>(super::kCompatible, d.superblock().compatible & ~layout::compatible::kHasJournal);
       d.set_superblock<u32>(super::kIncompatible, d.superblock().incompatible | layout::incompatible::kNeedsRecovery);
     }},
};

TEST_F(DamageTest, AgreesWithE2fsckOnFileSystemsWithJournalAndOldChecksums) {
  run_table(
      {.options = "-t ext4 -b 1024 -g 8192 -O ^metadata_csum,uninit_bg", .size = "32M", .index_directories = true},
      kClassicDamage);
}

// A file system as before ext4: lists of block numbers, no checksums.
const Damage kOldDamage[] = {
    {"a direct block outside", "outside the file system",
     [](Damager& d) { d.set_inode<u32>("blob", inode::kBlockMap + 8, 900'000); }},
    {"an indirect block outside", "outside the file system",
     [](Damager& d) { d.set_inode<u32>("blob", inode::kBlockMap + 4 * 12, 900'000); }},
    {"a block in an indirect block outside", "outside the file system",
     [](Damager& d) { store_le<u32>(d.block(load_le<u32>(d.inode("blob").block_map, 4 * 12)), 40, 900'000); }},
    {"another file's block", "in use for something else too",
     [](Damager& d) { d.set_inode<u32>("etc/other", inode::kBlockMap, static_cast<u32>(d.content_block("blob", 2))); }},
    {"a block of a map that is its own content", "in use for something else too",
     [](Damager& d) {
       const u32 map = load_le<u32>(d.inode("blob").block_map, 4 * 12);
       store_le<u32>(d.block(map), 0, map);
     }},
    {"a map that leads to itself", "is used as a part of the map twice",
     [](Damager& d) {
       const u32 map = load_le<u32>(d.inode("blob").block_map, 4 * 13);
       store_le<u32>(d.block(map), 4, map);
     }},
    {"parts never initialised", "without a feature that allows it",
     [](Damager& d) { d.set_group<u16>(1, group::kFlags, group::kInodesUninitialized); }},
    {"unused inodes", "without a feature that allows it",
     [](Damager& d) { d.set_group<u16>(1, group::kUnusedInodesLow, 4); }},
    {"a bitmap of another group", "cannot be at",
     [](Damager& d) {
       d.set_group<u32>(1, group::kBlockBitmapLow, static_cast<u32>(d.superblock().group_first_block(2) + 2000));
     }},
    {"free blocks", "blocks are free, but it says", [](Damager& d) { d.set_group<u16>(2, group::kFreeBlocksLow, 1); }},
    {"a file with extents", "marked as having extents",
     [](Damager& d) { d.set_inode<u32>("etc/one", inode::kFlags, layout::inode_flag::kExtents); }},
    {"high half of the xattr block", "the xattr block has a high half",
     [](Damager& d) { d.set_inode<u16>("etc/one", inode::kXattrBlockHigh, 1); }},
    {"an entry in a directory", "contains a slash",
     [](Damager& d) { d.set_entry<u8>("etc", "one", dirent::kName, '/'); }},
};

TEST_F(DamageTest, AgreesWithE2fsckOnFileSystemsWithoutExtentsOrChecksums) {
  run_table({.options = "-t ext2 -b 1024 -g 8192 -I 128 -N 3000", .size = "32M"}, kOldDamage);
}

}  // namespace
}  // namespace dadi::fs::test
