// Damage to what describes a file system as a whole.
#include <gtest/gtest.h>

#include "libfs/ext4/layout.h"
#include "tests/fs/check_damage.h"

namespace dadi::fs::test {
namespace {

namespace super = layout::super;
namespace group = layout::group;

// Damage to the superblock.
const Damage kSuperblockDamage[] = {
    {"checksum", "superblock: it does not match its checksum",
     [](Damager& d) { store_le<u32>(d.raw_superblock(), super::kChecksum, 1); }},
    {"magic", "no ext4 file system", [](Damager& d) { d.set_superblock<u16>(super::kMagic, 0xEF54); }},
    {"more blocks than the device", "blocks of 4096 bytes on a device",
     [](Damager& d) { d.set_superblock<u32>(super::kBlockCountLow, 5000); }},
    {"no blocks", "impossible number of blocks", [](Damager& d) { d.set_superblock<u32>(super::kBlockCountLow, 0); }},
    {"block size", "impossible block size", [](Damager& d) { d.set_superblock<u32>(super::kLogBlockSize, 9); }},
    {"cluster size", "impossible cluster size", [](Damager& d) { d.set_superblock<u32>(super::kLogClusterSize, 3); }},
    {"number of inodes", "impossible number of inodes",
     [](Damager& d) { d.set_superblock<u32>(super::kInodeCount, d.superblock().inode_count + 8); }},
    {"inodes per group", "impossible inodes per group",
     [](Damager& d) { d.set_superblock<u32>(super::kInodesPerGroup, 1 << 20); }},
    {"blocks per group", "impossible blocks per group",
     [](Damager& d) { d.set_superblock<u32>(super::kBlocksPerGroup, 1 << 20); }},
    {"inode size", "impossible inode size", [](Damager& d) { d.set_superblock<u16>(super::kInodeSize, 200); }},
    {"descriptor size", "impossible size of group descriptors",
     [](Damager& d) { d.set_superblock<u16>(super::kDescriptorSize, 48); }},
    {"first inode", "impossible first inode", [](Damager& d) { d.set_superblock<u32>(super::kFirstInode, 5); }},
    {"first block", "impossible first block", [](Damager& d) { d.set_superblock<u32>(super::kFirstDataBlock, 1); }},
    {"reserved blocks", "blocks are reserved",
     [](Damager& d) { d.set_superblock<u32>(super::kReservedBlockCountLow, 4000); }},
    {"room for descriptors without its feature", "without the feature resize_inode",
     [](Damager& d) { d.set_superblock<u16>(super::kReservedGdtBlocks, 8); }},
    {"extra fields wanted", "more extra fields than fit",
     [](Damager& d) { d.set_superblock<u16>(super::kWantedExtraSize, 200); }},
    {"both kinds of checksums", "both kinds of checksums",
     [](Damager& d) {
       d.set_superblock<u32>(super::kReadOnly, d.superblock().read_only | layout::read_only::kGroupChecksums);
     }},
    {"a journal without its feature", "is the journal",
     [](Damager& d) { d.set_superblock<u32>(super::kJournalInode, 8); }},
};

TEST_F(DamageTest, AgreesWithE2fsckOnSuperblocks) {
  run_table(own_recipe(), kSuperblockDamage);
}

// Damage to groups and bitmaps.
const Damage kGroupDamage[] = {
    {"descriptor checksum", "group 0: the descriptor does not match its checksum",
     [](Damager& d) { store_le<u16>(d.raw_group(0), group::kChecksum, 1); }},
    {"block bitmap over the inode table", "in use for something else",
     [](Damager& d) {
       d.set_group<u32>(0, group::kBlockBitmapLow, static_cast<u32>(d.group(0).inode_table));
       d.seal_block_bitmap(0);
     }},
    {"block bitmap outside", "its block bitmap cannot be at",
     [](Damager& d) { d.set_group<u32>(0, group::kBlockBitmapLow, 1'000'000); }},
    {"inode bitmap outside", "its inode bitmap cannot be at",
     [](Damager& d) { d.set_group<u32>(0, group::kInodeBitmapLow, 0); }},
    {"inode table outside", "its inode table cannot be at",
     [](Damager& d) { d.set_group<u32>(0, group::kInodeTableHigh, 1); }},
    {"free blocks", "blocks are free, but it says",
     [](Damager& d) { d.set_group<u16>(0, group::kFreeBlocksLow, static_cast<u16>(d.group(0).free_blocks + 1)); }},
    {"free inodes", "inodes are free, but it says",
     [](Damager& d) { d.set_group<u16>(0, group::kFreeInodesLow, static_cast<u16>(d.group(0).free_inodes - 1)); }},
    {"directories", "directories, but it says",
     [](Damager& d) { d.set_group<u16>(0, group::kDirectoriesLow, static_cast<u16>(d.group(0).directories + 2)); }},
    {"used inodes marked as never used", "which is not in use",
     [](Damager& d) {
       d.set_group<u16>(0, group::kUnusedInodesLow, static_cast<u16>(d.superblock().inodes_per_group - 40));
     }},
    {"more unused inodes than there are", "unused",
     [](Damager& d) { d.set_group<u16>(0, group::kUnusedInodesLow, 60000); }},
    {"more free blocks than there are", "free blocks of",
     [](Damager& d) { d.set_group<u16>(0, group::kFreeBlocksLow, 60000); }},
    {"last group's blocks never initialised", "last group's block bitmap",
     [](Damager& d) { d.set_group<u16>(0, group::kFlags, group::kBlocksUninitialized); }},
    {"inodes never initialised", "there is no root",
     [](Damager& d) { d.set_group<u16>(0, group::kFlags, group::kInodesUninitialized); }},
    {"a used block is not marked", "the block bitmap: 1 in use are not marked",
     [](Damager& d) {
       d.flip_bit(d.group(0).block_bitmap, d.content_block("blob", 1));
       d.seal_block_bitmap(0);
     }},
    {"a free block is marked", "the block bitmap: 0 in use are not marked, 1 marked",
     [](Damager& d) {
       d.flip_bit(d.group(0).block_bitmap, d.superblock().block_count - 1);
       d.seal_block_bitmap(0);
     }},
    {"a used inode is not marked", "the inode bitmap: 1 in use are not marked",
     [](Damager& d) {
       d.flip_bit(d.group(0).inode_bitmap, d.number("etc/one") - 1);
       d.seal_inode_bitmap(0);
     }},
    {"a free inode is marked", "the inode bitmap: 0 in use are not marked, 1 marked",
     [](Damager& d) {
       d.flip_bit(d.group(0).inode_bitmap, d.superblock().inode_count - 1);
       d.seal_inode_bitmap(0);
     }},
    {"checksum of the block bitmap", "the block bitmap does not match its checksum",
     [](Damager& d) { d.set_group<u16>(0, group::kBlockBitmapChecksumLow, 1); }},
    {"checksum of the inode bitmap, high half", "the inode bitmap does not match its checksum",
     [](Damager& d) { d.set_group<u16>(0, group::kInodeBitmapChecksumHigh, 1); }},
    {"padding of the block bitmap", "the block bitmap is not padded",
     [](Damager& d) {
       d.flip_bit(d.group(0).block_bitmap, d.superblock().block_count + 5);
       d.seal_block_bitmap(0);
     }},
    {"padding of the inode bitmap", "the inode bitmap is not padded",
     [](Damager& d) { d.flip_bit(d.group(0).inode_bitmap, d.superblock().inodes_per_group + 5); }},
};

TEST_F(DamageTest, AgreesWithE2fsckOnGroupsAndBitmaps) {
  run_table(own_recipe(), kGroupDamage);
}

TEST_F(DamageTest, StaleTotalsInTheSuperblockAreANote) {
  ASSERT_NO_FATAL_FAILURE(make_image({.options = kOwnOptions, .size = "16M"}, source_, image_));
  Damager damager(read_bytes(image_));
  damager.set_superblock<u32>(super::kFreeBlockCountLow, 5);
  damager.set_superblock<u32>(super::kFreeInodeCount, 6);
  const auto report = check_filesystem(std::make_shared<MemoryDevice>(damager.bytes()));
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->sound()) << findings_of(*report);
  ASSERT_EQ(report->notes.size(), 2U);
  EXPECT_NE(report->notes[0].text.find("free blocks is stale: 5"), std::string::npos) << report->notes[0].text;
  EXPECT_NE(report->notes[1].text.find("free inodes is stale: 6"), std::string::npos) << report->notes[1].text;
}

}  // namespace
}  // namespace dadi::fs::test
