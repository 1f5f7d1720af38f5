// Where new blocks and inodes go. The choice depends on the bitmaps below and the order of requests alone: upwards
// through the device, once; then, when its end was reached, once more through what lower layers have freed.
#pragma once

#include <vector>

#include "libfs/writer/ext2_file_system.h"

namespace dadi::fs {

using InodeNumber = std::uint32_t;

// One thread at a time; the file system is borrowed.
class BlockAllocator {
 public:
  explicit BlockAllocator(Ext2FileSystem& fs);

  // Moves on to a run of free blocks that suits a file of `blocks`: whole if it is small, in long pieces if not.
  void prefer(std::uint64_t blocks);

  // The next free blocks, at least one and at most `most`, now in use.
  // Errors: exhausted.
  Result<BlockRange> take(std::uint64_t most);

  // Frees blocks of a lower layer, at once.
  void free(BlockRange range);

  // Frees blocks that were taken here: not to be used again before settle().
  void retire(BlockRange range);

  // Writes what was taken and retired into the bitmaps.
  void settle();

  // Runs of at least `least` blocks that were freed here and are free still. Call after settle().
  std::vector<BlockRange> freed(std::uint64_t least) const;

  bool exhausted() const { return exhausted_; }  // a take() failed

 private:
  bool next_run();
  void commit();

  ext2_filsys fs_;
  BlockNumber run_start_ =
      0;  // the current run of free blocks: [run_start_, run_at_) is taken and not yet in the bitmap
  BlockNumber run_at_ = 0;
  BlockNumber run_end_ = 0;
  bool second_pass_ = false;
  bool exhausted_ = false;
  std::vector<BlockRange> retired_;
  std::vector<BlockRange> freed_;
};

// One thread at a time; the file system is borrowed.
class InodeAllocator {
 public:
  explicit InodeAllocator(Ext2FileSystem& fs);

  // Errors: exhausted.
  Result<InodeNumber> take(bool directory);
  void free(InodeNumber inode, bool directory);
  void retire(InodeNumber inode, bool directory);  // one that was taken here; not used again before settle()
  void settle();

  bool exhausted() const { return exhausted_; }  // a take() failed

 private:
  // Taken in one group, in the bitmap, and not yet counted in the group's descriptor: its checksum takes longer than
  // all the rest.
  struct Uncounted {
    dgrp_t group = 0;
    std::uint32_t inodes = 0;
    std::uint32_t directories = 0;
    std::uint32_t end = 0;  // in the group, of the last one's place in the table
  };

  void count();

  ext2_filsys fs_;
  InodeNumber cursor_;
  Uncounted uncounted_;
  bool second_pass_ = false;
  bool exhausted_ = false;
  std::vector<std::pair<InodeNumber, bool>> retired_;
};

}  // namespace dadi::fs
