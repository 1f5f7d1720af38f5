// Damage to directories and their indexes.
#include <gtest/gtest.h>

#include "libfs/ext4/layout.h"
#include "tests/fs/check_damage.h"

namespace dadi::fs::test {
namespace {

namespace inode = layout::inode;
namespace extent = layout::extent;
namespace dirent = layout::dirent;
namespace htree = layout::htree;

// Damage to directories.
const Damage kDirectoryDamage[] = {
    {"checksum", "block 0: the block does not match its checksum",
     [](Damager& d) { store_le<u32>(d.block(d.content_block("etc", 0)), 4092, 1); }},
    {"no checksum", "the block has no checksum",
     [](Damager& d) { store_le<u8>(d.block(d.content_block("etc", 0)), 4084 + dirent::kFileType, 0); }},
    {"an entry of no length", "an entry of 0 bytes",
     [](Damager& d) { d.set_entry<u16>("etc", "one", dirent::kLength, 0); }},
    {"an entry of odd length", "an entry of 13 bytes",
     [](Damager& d) { d.set_entry<u16>("etc", "one", dirent::kLength, 13); }},
    {"an entry past the block", "an entry of 8000 bytes",
     [](Damager& d) { d.set_entry<u16>("etc", "one", dirent::kLength, 8000); }},
    {"a name past its entry", "a name of 200 bytes",
     [](Damager& d) { d.set_entry<u8>("etc", "one", dirent::kNameLength, 200); }},
    {"a name without letters", "is empty", [](Damager& d) { d.set_entry<u8>("etc", "one", dirent::kNameLength, 0); }},
    {"a slash", "contains a slash", [](Damager& d) { d.set_entry<u8>("etc", "one", dirent::kName, '/'); }},
    {"a NUL", "contains a NUL byte", [](Damager& d) { d.set_entry<u8>("etc", "one", dirent::kName + 1, 0); }},
    {"a second dot", "is reserved",
     [](Damager& d) {
       d.set_entry<u8>("etc", "one", dirent::kNameLength, 1);
       d.set_entry<u8>("etc", "one", dirent::kName, '.');
     }},
    {"the dot leads elsewhere", "\".\" leads to inode",
     [](Damager& d) { d.set_entry<u32>("etc", ".", dirent::kInode, d.number("deep")); }},
    {"the dots lead elsewhere", "\"..\" leads to inode",
     [](Damager& d) { d.set_entry<u32>("deep/level0", "..", dirent::kInode, d.number("etc")); }},
    {"the dots lead to a file", "which is no directory",
     [](Damager& d) { d.set_entry<u32>("deep/level0", "..", dirent::kInode, d.number("etc/one")); }},
    {"no dot", "where \".\" is due", [](Damager& d) { d.set_entry<u8>("etc", ".", dirent::kName, 'x'); }},
    {"a dot without its end", "is not followed by zeros",
     [](Damager& d) { d.set_entry<u8>("etc", ".", dirent::kName + 1, 'x'); }},
    {"no dots", "where \"..\" is due", [](Damager& d) { d.set_entry<u8>("etc", "..", dirent::kName, 'x'); }},
    {"another kind", "is stated to be of kind 3, where 1 is due",
     [](Damager& d) { d.set_entry<u8>("etc", "one", dirent::kFileType, layout::file_type::kCharacterDevice); }},
    {"an unused inode", "which is not in use",
     [](Damager& d) { d.set_entry<u32>("etc", "one", dirent::kInode, d.superblock().inode_count - 1); }},
    {"an inode past the last", "which cannot be",
     [](Damager& d) { d.set_entry<u32>("etc", "one", dirent::kInode, d.superblock().inode_count + 1); }},
    {"a reserved inode", "which cannot be", [](Damager& d) { d.set_entry<u32>("etc", "one", dirent::kInode, 9); }},
    {"the root", "which cannot be", [](Damager& d) { d.set_entry<u32>("etc", "one", dirent::kInode, kRootInode); }},
    {"a second link to a directory", "is a second link to directory",
     [](Damager& d) {
       d.set_entry<u32>("etc", "one", dirent::kInode, d.number("deep/level0/level1"));
       d.set_entry<u8>("etc", "one", dirent::kFileType, layout::file_type::kDirectory);
     }},
    {"a name twice", "have the same name",
     [](Damager& d) {
       // "other" becomes "emptr", and "empty" too.
       d.set_entry<u32>("etc", "other", dirent::kName, 0x74706D65);
       d.set_entry<u8>("etc", "empty", dirent::kName + 4, 'r');
     }},
    {"a lost file", "no directory leads to it",
     [](Damager& d) { d.set_entry<u32>("etc", "other", dirent::kInode, 0); }},
    {"a lost link", "1 links, but it says 2", [](Damager& d) { d.set_entry<u32>("etc", "one", dirent::kInode, 0); }},
    {"a lost directory", "no directory leads to this one",
     [](Damager& d) { d.set_entry<u32>("deep", "level0", dirent::kInode, 0); }},
    {"a circle", "directories lead in a circle",
     [](Damager& d) {
       d.set_entry<u32>("/", "deep", dirent::kInode, 0);
       d.set_entry<u32>("deep/level0", "level1", dirent::kInode, d.number("deep"));
     }},
    {"a missing block", "of the directory are missing",
     [](Damager& d) { d.set_inode<u32>("etc", inode::kBlockMap + extent::kHeaderSize + extent::kLogical, 1); }},
};

TEST_F(DamageTest, AgreesWithE2fsckOnDirectories) {
  run_table(own_recipe(), kDirectoryDamage);
}

// Damage to directories' indexes.
void damage_root(Damager& d, std::size_t field, u8 value) {
  store_le<u8>(d.block(d.content_block("large", 0)), field, value);
  d.seal_index_block("large", 0);
}
void set_record(Damager& d, std::size_t record, std::size_t field, u32 value) {
  store_le<u32>(d.block(d.content_block("large", 0)), htree::kRootEntries + record * htree::kRecordSize + field, value);
  d.seal_index_block("large", 0);
}
u32 get_record(Damager& d, std::size_t record, std::size_t field) {
  return load_le<u32>(d.block(d.content_block("large", 0)), htree::kRootEntries + record * htree::kRecordSize + field);
}
const Damage kIndexDamage[] = {
    {"checksum", "does not match its checksum",
     [](Damager& d) { store_le<u32>(d.block(d.content_block("large", 0)), 4092, 1); }},
    {"hash version", "hash version 9", [](Damager& d) { damage_root(d, htree::kRootHashVersion, 9); }},
    {"another hash", "has names with hashes", [](Damager& d) { damage_root(d, htree::kRootHashVersion, htree::kTea); }},
    {"reserved bytes", "a root of an unknown form", [](Damager& d) { damage_root(d, htree::kRootReserved, 1); }},
    {"size of the root's facts", "a root of an unknown form",
     [](Damager& d) { damage_root(d, htree::kRootInfoLength, 12); }},
    {"levels", "7 levels", [](Damager& d) { damage_root(d, htree::kRootLevels, 7); }},
    {"flags", "a root of an unknown form", [](Damager& d) { damage_root(d, htree::kRootFlags, 1); }},
    {"limit", "index records stated as",
     [](Damager& d) { store_le<u16>(d.block(d.content_block("large", 0)), htree::kRootEntries, 100); }},
    {"count", "index records in room for",
     [](Damager& d) { store_le<u16>(d.block(d.content_block("large", 0)), htree::kRootEntries + 2, 600); }},
    {"a block past the end", "which the directory does not have",
     [](Damager& d) { set_record(d, 3, htree::kBlock, 5000); }},
    {"a block twice", "is referred to twice",
     [](Damager& d) { set_record(d, 3, htree::kBlock, get_record(d, 4, htree::kBlock)); }},
    {"a block not at all", "is not referred to",
     [](Damager& d) { set_record(d, 3, htree::kBlock, get_record(d, 4, htree::kBlock)); }},
    {"hashes out of order", "out of order",
     [](Damager& d) { set_record(d, 3, htree::kHash, get_record(d, 5, htree::kHash)); }},
    {"a hash too high", "has names with hashes",
     [](Damager& d) { set_record(d, 3, htree::kHash, get_record(d, 4, htree::kHash) - 2); }},
    {"an entry in another's block", "has names with hashes",
     [](Damager& d) {
       const u32 first = get_record(d, 3, htree::kBlock);
       const u32 second = get_record(d, 9, htree::kBlock);
       set_record(d, 3, htree::kBlock, second);
       set_record(d, 9, htree::kBlock, first);
     }},
};

TEST_F(DamageTest, AgreesWithE2fsckOnDirectoryIndexes) {
  run_table(own_recipe(), kIndexDamage);
}

}  // namespace
}  // namespace dadi::fs::test
