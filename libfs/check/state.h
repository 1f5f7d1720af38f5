// What the passes of a check know and hand on: each pass is a function that reads and fills this.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "libfs/check/block_set.h"
#include "libfs/check/findings.h"
#include "libfs/ext4/image.h"
#include "libfs/ext4/volume.h"

namespace dadi::fs {

// An inode in use that directory entries may lead to.
struct InodeRecord {
  InodeNumber number = 0;
  InodeNumber parent = 0;         // the directory of the first entry that leads here; 0: none yet
  std::uint32_t links_found = 0;  // entries, "." and ".." included
  std::uint16_t links_stated = 0;
  FileType type = FileType::kRegular;
};

struct DirectoryRecord {
  InodeNumber number = 0;
  InodeNumber dot_dot = 0;         // what its ".." says; 0: none
  bool has_shared_blocks = false;  // that are in use for something else: its content is not looked at
};

// An xattr block: shared by as many inodes as it states.
struct XattrBlockUse {
  std::uint32_t references_stated = 0;
  std::uint32_t references_found = 0;
};

struct CheckState {
  CheckState(const Image& image_to_check, Findings& findings_to_fill)
      : image(image_to_check), findings(findings_to_fill), used_blocks(image_to_check.superblock()) {}

  const Superblock& superblock() const { return image.superblock(); }

  // Takes blocks into use; a fault at `place` if they are already. False then.
  bool claim(const Place& place, std::uint64_t first, std::uint64_t count);

  // The record of an inode in use; none if it is not, or is reserved.
  InodeRecord* find(InodeNumber number);

  const Image& image;
  Findings& findings;
  CheckFacts facts;
  std::vector<GroupDescriptor> groups;
  std::vector<bool> group_is_readable;  // its bitmaps and table are where they can be
  BlockSet used_blocks;
  std::vector<InodeRecord> inodes;           // ascending
  std::vector<DirectoryRecord> directories;  // ascending
  std::map<std::uint64_t, XattrBlockUse> xattr_blocks;
};

// The passes, in the order in which they run. Damage goes to the state's findings.
// Errors of all: those of the device.

// The superblock: its checksum and what of it does not decide the layout.
// Errors: unsupported (features that decide what is right in ways not known here).
Result<void> check_superblock(CheckState& state);

// Group descriptors; claims the blocks of the file system's own structures.
Result<void> check_group_descriptors(CheckState& state);

// Every inode of the tables, and what hangs on it alone: block maps, symlinks, xattrs.
Result<void> check_inodes(CheckState& state);

// Every directory's blocks and entries.
Result<void> check_directories(CheckState& state);

// Whether the directories are a tree, and links are counted right.
void check_tree(CheckState& state);

// Bitmaps and totals against what was found in use.
Result<void> check_bitmaps(CheckState& state);

// Parts of passes that have files of their own.

// What hangs on an inode, in use: its content's blocks (counted and claimed), and its xattrs.
Result<void> check_content(CheckState& state, const Inode& inode);
Result<void> check_xattrs(CheckState& state, const Inode& inode, std::span<const std::byte> raw);
// The inode that keeps blocks for the group descriptors' growth: `raw` as in the table.
Result<void> check_resize_inode(CheckState& state, std::span<const std::byte> raw);
Result<void> check_journal(CheckState& state, const Inode& inode);

// The names of a block's entries by hash, lowest and highest; of no entries: lowest above highest.
struct HashRange {
  std::uint32_t lowest = 0xFFFFFFFF;
  std::uint32_t highest = 0;

  bool is_empty() const { return lowest > highest; }
};

// By block of a directory, of those that exist.
using HashRanges = std::map<std::uint64_t, HashRange>;

// A directory's index, given the hashes in its blocks.
Result<void> check_index(CheckState& state, const Inode& directory, const HashRanges& ranges);

// Puts paths to the places of findings, as far as that is cheap.
Result<void> name_places(CheckState& state);

}  // namespace dadi::fs
