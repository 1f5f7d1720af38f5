// Where the blocks of a file are: extents, in the inode or in a tree below it.
#pragma once

#include <vector>

#include "libfs/writer/inode_table.h"

namespace dadi::fs {

struct FileRun {
  std::uint64_t logical = 0;  // first block in the file
  BlockNumber physical = 0;
  std::uint64_t count = 0;
};

// Ascending by `logical`, without overlaps.
class ExtentList {
 public:
  // Adds blocks behind all others, joining what is contiguous within the longest extent, 32768 blocks.
  void append(std::uint64_t logical, BlockRange blocks);

  const std::vector<FileRun>& runs() const { return runs_; }
  std::uint64_t blocks() const;  // mapped, holes not counted

  // The block that holds `logical`. Errors: corruption (a hole).
  Result<BlockNumber> find(std::uint64_t logical) const;

  // Cuts the list to the first `count` logical blocks; calls free(range) for what goes.
  template <typename Free>
  void truncate(std::uint64_t count, Free free) {
    while (!runs_.empty() && runs_.back().logical + runs_.back().count > count) {
      FileRun& last = runs_.back();
      const std::uint64_t kept = last.logical < count ? count - last.logical : 0;
      free(BlockRange{last.physical + kept, last.count - kept});
      last.count = kept;
      if (kept == 0) runs_.pop_back();
    }
  }

 private:
  std::vector<FileRun> runs_;
};

struct ExtentTree {
  ExtentList extents;
  std::vector<BlockNumber> tree;  // blocks of the tree itself
};

// The extents of an inode. Every number is checked against the file system.
// Errors: corruption; unsupported (a file mapped by block pointers).
Result<ExtentTree> read_extents(const Ext2FileSystem& fs, const LayerDevice& device, const InodeImage& inode);

// Stores the extents: into the inode up to four, else into tree blocks, first those of `reuse`, then new ones (surplus
// ones are handed to `allocator` to free). Returns the number of tree blocks. Does not set i_blocks.
Result<std::uint64_t> write_extents(Ext2FileSystem& fs, LayerDevice& device, BlockAllocator& allocator,
                                    InodeNumber number, InodeImage& inode, const ExtentList& extents,
                                    const std::vector<BlockNumber>& reuse);

}  // namespace dadi::fs
