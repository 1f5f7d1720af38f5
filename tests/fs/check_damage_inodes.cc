// Damage to inodes and what hangs on them.
#include <gtest/gtest.h>

#include "libfs/ext4/layout.h"
#include "tests/fs/check_damage.h"

namespace dadi::fs::test {
namespace {

namespace inode = layout::inode;
namespace extent = layout::extent;
namespace xattr = layout::xattr;

// Damage to inodes.
const Damage kInodeDamage[] = {
    {"checksum", "it does not match its checksum",
     [](Damager& d) { store_le<u16>(d.raw_inode(d.number("etc/one")), inode::kChecksumLow, 1); }},
    {"checksum, high half", "it does not match its checksum",
     [](Damager& d) { store_le<u16>(d.raw_inode(d.number("etc/one")), inode::kChecksumHigh, 1); }},
    {"no kind", "is of no kind of file", [](Damager& d) { d.set_inode<u16>("etc/one", inode::kMode, 0644); }},
    {"an unknown kind", "is of no kind of file", [](Damager& d) { d.set_inode<u16>("etc/one", inode::kMode, 0xF1A4); }},
    {"another kind", "is stated to be of kind", [](Damager& d) { d.set_inode<u16>("pipe", inode::kMode, 0xC1A4); }},
    {"the root is a file", "the root is not a directory",
     [](Damager& d) { d.set_inode<u16>(kRootInode, inode::kMode, 0x81A4); }},
    {"links of a file", "2 links, but it says 3", [](Damager& d) { d.set_inode<u16>("etc/one", inode::kLinks, 3); }},
    {"links of a directory", "links, but it says 1", [](Damager& d) { d.set_inode<u16>("deep", inode::kLinks, 1); }},
    {"no links", "deleted, but without a time", [](Damager& d) { d.set_inode<u16>("etc/one", inode::kLinks, 0); }},
    {"deleted", "in use, but with a time of deletion",
     [](Damager& d) { d.set_inode<u32>("etc/one", inode::kDeletionTime, 1'700'000'000); }},
    {"allocated blocks", "bytes are allocated to it, but it says",
     [](Damager& d) { d.set_inode<u32>("etc/other", inode::kBlocksLow, 8); }},
    {"allocated blocks of a symlink", "bytes are allocated to it, but it says",
     [](Damager& d) { d.set_inode<u32>("etc/short", inode::kBlocksLow, 8); }},
    {"a file too short for its blocks", "but with content up to block",
     [](Damager& d) { d.set_inode<u32>("blob", inode::kSizeLow, 100); }},
    {"a directory too short for its blocks", "bytes long, but with blocks for",
     [](Damager& d) { d.set_inode<u32>("large", inode::kSizeLow, 4096); }},
    {"a directory too long for its blocks", "bytes long, but with blocks for",
     [](Damager& d) { d.set_inode<u32>("etc", inode::kSizeLow, 8192); }},
    {"a directory of half a block", "bytes long, but with blocks for",
     [](Damager& d) { d.set_inode<u32>("etc", inode::kSizeLow, 4000); }},
    {"extra fields", "bytes of extra fields", [](Damager& d) { d.set_inode<u16>("etc/one", inode::kExtraSize, 129); }},
    {"odd extra fields", "bytes of extra fields",
     [](Damager& d) { d.set_inode<u16>("etc/one", inode::kExtraSize, 30); }},
    {"fragment address", "obsolete fragment address",
     [](Damager& d) { d.set_inode<u32>("etc/one", inode::kFragmentAddress, 7); }},
    {"high half of a directory's size", "the size has a high half",
     [](Damager& d) { d.set_inode<u32>("etc", inode::kSizeHigh, 1); }},
    {"short symlink, shorter", "whose target is longer or shorter",
     [](Damager& d) { d.set_inode<u32>("etc/short", inode::kSizeLow, 2); }},
    {"short symlink, empty", "whose target is longer or shorter",
     [](Damager& d) { d.set_inode<u32>("etc/short", inode::kSizeLow, 0); }},
    {"long symlink, longer", "whose target is longer or shorter",
     [](Damager& d) { d.set_inode<u32>("etc/long", inode::kSizeLow, 1000); }},
    {"long symlink, much longer", "a symlink of 5000 bytes",
     [](Damager& d) { d.set_inode<u32>("etc/long", inode::kSizeLow, 5000); }},
    {"a fifo with extents", "marked as having extents",
     [](Damager& d) { d.set_inode<u32>("pipe", inode::kFlags, layout::inode_flag::kExtents); }},
    {"a fifo with a size", "a special file of 7 bytes",
     [](Damager& d) { d.set_inode<u32>("pipe", inode::kSizeLow, 7); }},
    {"an immutable device", "immutable or append-only",
     [](Damager& d) { d.set_inode<u32>("device", inode::kFlags, layout::inode_flag::kImmutable); }},
    {"a short symlink with extents", "marked as having extents",
     [](Damager& d) { d.set_inode<u32>("etc/short", inode::kFlags, layout::inode_flag::kExtents); }},
    {"an indexed file", "marked as an indexed directory",
     [](Damager& d) {
       d.set_inode<u32>("etc/one", inode::kFlags, d.inode("etc/one").flags | layout::inode_flag::kIndexed);
     }},
    {"inline data", "without the features that they need",
     [](Damager& d) {
       d.set_inode<u32>("etc/one", inode::kFlags, d.inode("etc/one").flags | layout::inode_flag::kInlineData);
     }},
    {"extents that are not marked", "has extents, but is not marked so",
     [](Damager& d) { d.set_inode<u32>("blob", inode::kFlags, 0); }},
    {"a case-folded file", "without the features that they need",
     [](Damager& d) {
       d.set_inode<u32>("etc/one", inode::kFlags, d.inode("etc/one").flags | layout::inode_flag::kCaseFolded);
     }},
    {"a reserved inode with blocks", "a reserved inode is not empty",
     [](Damager& d) { d.set_inode<u32>(InodeNumber{6}, inode::kBlocksLow, 8); }},
    {"a reserved inode with a mode", "a reserved inode is not empty",
     [](Damager& d) { d.set_inode<u16>(InodeNumber{9}, inode::kMode, 0x81A4); }},
    {"bad blocks of somebody", "bad blocks have an owner",
     [](Damager& d) { d.set_inode<u16>(InodeNumber{1}, inode::kUidLow, 7); }},
    {"bad blocks of a group", "bad blocks have an owner",
     [](Damager& d) { d.set_inode<u16>(InodeNumber{1}, inode::kGidLow, 7); }},
};

TEST_F(DamageTest, AgreesWithE2fsckOnInodes) {
  run_table(own_recipe(), kInodeDamage);
}

// Damage to block maps.
constexpr std::size_t kFirstRecord = inode::kBlockMap + extent::kHeaderSize;
const Damage kExtentDamage[] = {
    {"magic", "extent tree: magic", [](Damager& d) { d.set_inode<u16>("blob", inode::kBlockMap + extent::kMagic, 1); }},
    {"more records than room", "records in room for",
     [](Damager& d) { d.set_inode<u16>("blob", inode::kBlockMap + extent::kEntries, 5); }},
    {"more room than there is", "stated as 40",
     [](Damager& d) { d.set_inode<u16>("blob", inode::kBlockMap + extent::kMaximum, 40); }},
    {"a depth without nodes", "extent tree",
     [](Damager& d) { d.set_inode<u16>("blob", inode::kBlockMap + extent::kDepth, 1); }},
    {"an impossible depth", "a depth of 9",
     [](Damager& d) { d.set_inode<u16>("blob", inode::kBlockMap + extent::kDepth, 9); }},
    {"an empty extent", "an extent of length 0",
     [](Damager& d) { d.set_inode<u16>("blob", kFirstRecord + extent::kLength, 0); }},
    {"an extent outside", "outside the file system",
     [](Damager& d) { d.set_inode<u32>("blob", kFirstRecord + extent::kStartLow, 500'000); }},
    {"an extent far outside", "outside the file system",
     [](Damager& d) { d.set_inode<u16>("blob", kFirstRecord + extent::kStartHigh, 0xFFFF); }},
    {"another file's block", "in use for something else too",
     [](Damager& d) {
       d.set_inode<u32>("etc/one", kFirstRecord + extent::kStartLow, static_cast<u32>(d.content_block("blob", 3)));
     }},
    {"the block bitmap", "in use for something else too",
     [](Damager& d) {
       d.set_inode<u32>("etc/one", kFirstRecord + extent::kStartLow, static_cast<u32>(d.group(0).block_bitmap));
     }},
    {"an unwritten directory", "of the directory is unwritten",
     [](Damager& d) { d.set_inode<u16>("etc", kFirstRecord + extent::kLength, extent::kLongest + 1); }},
    {"a node outside", "a node at block 500000",
     [](Damager& d) { d.set_inode<u32>("islands", kFirstRecord + extent::kChildLow, 500'000); }},
    {"a node's checksum", "does not match its checksum",
     [](Damager& d) {
       const u32 node = load_le<u32>(d.inode("islands").block_map, extent::kHeaderSize + extent::kChildLow);
       store_le<u32>(d.block(node), 4092, 1);
     }},
    {"a node's key", "where 1 is due",
     [](Damager& d) { d.set_inode<u32>("islands", kFirstRecord + extent::kLogical, 1); }},
    {"a node's depth", "a node of depth 1 where 0 is due",
     [](Damager& d) {
       const Inode inode = d.inode("islands");
       const u32 node = load_le<u32>(inode.block_map, extent::kHeaderSize + extent::kChildLow);
       store_le<u16>(d.block(node), extent::kDepth, 1);
       d.seal_extent_block(inode, node);
     },
     true},
    {"extents out of order", "out of order",
     [](Damager& d) {
       const Inode inode = d.inode("islands");
       const u32 node = load_le<u32>(inode.block_map, extent::kHeaderSize + extent::kChildLow);
       store_le<u32>(d.block(node), extent::kHeaderSize + 2 * extent::kRecordSize + extent::kLogical, 1);
       d.seal_extent_block(inode, node);
     }},
    {"extents that overlap", "out of order",
     [](Damager& d) {
       const Inode inode = d.inode("islands");
       const u32 node = load_le<u32>(inode.block_map, extent::kHeaderSize + extent::kChildLow);
       store_le<u16>(d.block(node), extent::kHeaderSize + extent::kLength, 4);
       d.seal_extent_block(inode, node);
     }},
};

TEST_F(DamageTest, AgreesWithE2fsckOnBlockMaps) {
  run_table(own_recipe(), kExtentDamage);
}

// Damage to xattrs. An entry's value lies at the end, the first entry's last.
constexpr std::size_t kFirstXattr = xattr::kBlockHeaderSize;
void damage_xattr_block(Damager& d, std::size_t field, u16 value) {
  const std::uint64_t number = d.inode("etc/attributes").xattr_block;
  ASSERT_NE(number, 0U);
  store_le<u16>(d.block(number), field, value);
  d.seal_xattr_block(number);
}
constexpr std::size_t kInodeXattrs = inode::kSmallSize + 32 + xattr::kInodeHeaderSize;
const Damage kXattrDamage[] = {
    {"a block's checksum", "does not match its checksum",
     [](Damager& d) { store_le<u32>(d.block(d.inode("etc/attributes").xattr_block), xattr::kChecksum, 1); }},
    {"a block's magic", "has magic", [](Damager& d) { damage_xattr_block(d, xattr::kMagic, 1); }},
    {"a block's references", "an xattr block of 1 inodes says it has 2",
     [](Damager& d) { damage_xattr_block(d, xattr::kReferences, 2); }},
    {"a block's size", "a size of 2 blocks", [](Damager& d) { damage_xattr_block(d, xattr::kBlocks, 2); }},
    {"a hash", "does not match its hash", [](Damager& d) { damage_xattr_block(d, kFirstXattr + xattr::kHash, 1); }},
    {"a value outside", "reaches past the end",
     [](Damager& d) { damage_xattr_block(d, kFirstXattr + xattr::kValueOffset, 4092); }},
    {"a value over the entries", "lies over something else",
     [](Damager& d) { damage_xattr_block(d, kFirstXattr + xattr::kValueOffset, 36); }},
    {"a name without a kind", "a name without a kind",
     [](Damager& d) {
       const std::uint64_t number = d.inode("etc/attributes").xattr_block;
       store_le<u8>(d.block(number), kFirstXattr + xattr::kNameIndex, 0);
       d.seal_xattr_block(number);
     }},
    {"a value in an inode", "without the feature ea_inode",
     [](Damager& d) { damage_xattr_block(d, kFirstXattr + xattr::kValueInode, 12); }},
    {"a block outside", "outside the file system",
     [](Damager& d) { d.set_inode<u32>("etc/attributes", inode::kXattrBlockLow, 900'000); }},
    {"a name without an end", "reaches past the end",
     [](Damager& d) { d.set_inode<u8>("etc/shared", kInodeXattrs + xattr::kNameLength, 250); }},
    {"a value outside the inode", "reaches past the end",
     [](Damager& d) { d.set_inode<u16>("etc/shared", kInodeXattrs + xattr::kValueOffset, 200); }},
    {"values that overlap", "lies over something else",
     [](Damager& d) {
       const auto raw = d.raw_inode(d.number("etc/shared"));
       const u16 other = load_le<u16>(raw, kInodeXattrs + 20 + xattr::kValueOffset);
       d.set_inode<u16>("etc/shared", kInodeXattrs + xattr::kValueOffset, other);
       d.set_inode<u32>("etc/shared", kInodeXattrs + xattr::kHash, 0);
     }},
    {"no access control list", "a malformed access control list",
     [](Damager& d) { d.set_inode<u8>("etc/shared", kInodeXattrs + xattr::kNameIndex, 3); }, /*reference_misses=*/true},
};

TEST_F(DamageTest, AgreesWithE2fsckOnXattrs) {
  run_table(own_recipe(), kXattrDamage);
}

TEST_F(DamageTest, FindingsNameThePathsOfInodes) {
  ASSERT_NO_FATAL_FAILURE(make_image({.options = kOwnOptions, .size = "16M"}, source_, image_));
  Damager damager(read_bytes(image_));
  const std::string path = "/deep/level0/level1";
  damager.set_inode<u16>(path, inode::kLinks, 9);
  const auto report = check_filesystem(std::make_shared<MemoryDevice>(damager.bytes()));
  ASSERT_TRUE(report);
  ASSERT_EQ(report->faults.size(), 1U);
  EXPECT_EQ(report->faults[0].place, fmt::format("inode {} ({})", damager.number(path), path));
}

}  // namespace
}  // namespace dadi::fs::test
