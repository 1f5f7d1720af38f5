#include "libfs/writer/allocator.h"

#include <algorithm>
#include <utility>

namespace dadi::fs {

namespace {

constexpr std::uint64_t kLongRun = 256;  // 1 MiB: a large file is not spread over shorter runs than this

}  // namespace

BlockAllocator::BlockAllocator(Ext2FileSystem& fs) : fs_(fs.get()) {}

void BlockAllocator::commit() {
  if (run_at_ > run_start_)
    ext2fs_block_alloc_stats_range(fs_, run_start_, static_cast<blk_t>(run_at_ - run_start_), +1);
  run_start_ = run_at_;
}

bool BlockAllocator::next_run() {
  commit();
  const BlockNumber last = ext2fs_blocks_count(fs_->super) - 1;
  blk64_t start = 0;
  const auto find = [&](BlockNumber from) {
    return from <= last && ext2fs_find_first_zero_block_bitmap2(fs_->block_map, from, last, &start) == 0;
  };
  if (!find(std::max<BlockNumber>(run_end_, fs_->super->s_first_data_block))) {
    if (second_pass_) return false;
    second_pass_ = true;
    if (!find(fs_->super->s_first_data_block)) return false;
  }
  blk64_t end = 0;
  if (ext2fs_find_first_set_block_bitmap2(fs_->block_map, start, last, &end) != 0) end = last + 1;
  run_start_ = run_at_ = start;
  run_end_ = end;
  return true;
}

void BlockAllocator::prefer(std::uint64_t blocks) {
  const std::uint64_t wanted = std::min(blocks, kLongRun);
  while (!second_pass_ && run_end_ - run_at_ < wanted) {
    if (!next_run()) return;
  }
}

Result<BlockRange> BlockAllocator::take(std::uint64_t most) {
  if (run_at_ == run_end_ && !next_run()) {
    exhausted_ = true;
    return Error::exhausted("no free block is left in the file system");
  }
  const BlockRange taken{run_at_, std::min(most, run_end_ - run_at_)};
  run_at_ += taken.count;
  return taken;
}

void BlockAllocator::free(BlockRange range) {
  ext2fs_block_alloc_stats_range(fs_, range.start, static_cast<blk_t>(range.count), -1);
  if (!freed_.empty() && freed_.back().start + freed_.back().count == range.start)
    freed_.back().count += range.count;
  else
    freed_.push_back(range);
}

std::vector<BlockRange> BlockAllocator::freed(std::uint64_t least) const {
  std::vector<BlockRange> ranges = freed_;
  std::ranges::sort(ranges, {}, &BlockRange::start);
  std::vector<BlockRange> runs;
  const auto add = [&](BlockNumber start, BlockNumber end) {
    if (!runs.empty() && runs.back().start + runs.back().count >= start) {
      runs.back().count = std::max(runs.back().count, end - runs.back().start);
    } else {
      if (!runs.empty() && runs.back().count < least) runs.pop_back();
      runs.push_back({start, end - start});
    }
  };
  for (const BlockRange& range : ranges) {
    const BlockNumber end = range.start + range.count;
    for (blk64_t at = range.start; at < end;) {  // some of them may have been taken again
      if (ext2fs_find_first_zero_block_bitmap2(fs_->block_map, at, end - 1, &at) != 0) break;
      blk64_t used = end;
      if (ext2fs_find_first_set_block_bitmap2(fs_->block_map, at, end - 1, &used) != 0) used = end;
      add(at, used);
      at = used;
    }
  }
  if (!runs.empty() && runs.back().count < least) runs.pop_back();
  return runs;
}

void BlockAllocator::retire(BlockRange range) {
  retired_.push_back(range);
}

void BlockAllocator::settle() {
  commit();
  for (const BlockRange& range : retired_) free(range);
  retired_.clear();
}

InodeAllocator::InodeAllocator(Ext2FileSystem& fs) : fs_(fs.get()), cursor_(EXT2_FIRST_INODE(fs->super)) {}

Result<InodeNumber> InodeAllocator::take(bool directory) {
  ext2_ino_t found = 0;
  const auto find = [&](InodeNumber from) {
    return from <= fs_->super->s_inodes_count &&
           ext2fs_find_first_zero_inode_bitmap2(fs_->inode_map, from, fs_->super->s_inodes_count, &found) == 0;
  };
  if (!find(cursor_)) {
    if (second_pass_ || !find(EXT2_FIRST_INODE(fs_->super))) {
      exhausted_ = true;
      return Error::exhausted("no free inode is left in the file system");
    }
    second_pass_ = true;
  }
  cursor_ = found + 1;
  ext2fs_mark_inode_bitmap2(fs_->inode_map, found);
  const dgrp_t group = ext2fs_group_of_ino(fs_, found);
  if (group != uncounted_.group) {
    count();
    uncounted_.group = group;
  }
  ++uncounted_.inodes;
  uncounted_.directories += directory ? 1 : 0;
  uncounted_.end = std::max(uncounted_.end, (found - 1) % fs_->super->s_inodes_per_group + 1);
  return found;
}

// As ext2fs_inode_alloc_stats2 does for each.
void InodeAllocator::count() {
  const Uncounted taken = std::exchange(uncounted_, {});
  if (taken.inodes == 0) return;
  const dgrp_t group = taken.group;
  ext2fs_bg_free_inodes_count_set(fs_, group, ext2fs_bg_free_inodes_count(fs_, group) - taken.inodes);
  ext2fs_bg_used_dirs_count_set(fs_, group, ext2fs_bg_used_dirs_count(fs_, group) + taken.directories);
  ext2fs_bg_flags_clear(fs_, group, EXT2_BG_INODE_UNINIT);
  if (ext2fs_has_group_desc_csum(fs_) != 0) {
    const std::uint32_t unused = fs_->super->s_inodes_per_group - taken.end;
    if (unused < ext2fs_bg_itable_unused(fs_, group)) ext2fs_bg_itable_unused_set(fs_, group, unused);
    ext2fs_group_desc_csum_set(fs_, group);
  }
  fs_->super->s_free_inodes_count -= taken.inodes;
  ext2fs_mark_super_dirty(fs_);
  ext2fs_mark_ib_dirty(fs_);
}

void InodeAllocator::free(InodeNumber inode, bool directory) {
  ext2fs_inode_alloc_stats2(fs_, inode, -1, directory ? 1 : 0);
}

void InodeAllocator::retire(InodeNumber inode, bool directory) {
  retired_.emplace_back(inode, directory);
}

void InodeAllocator::settle() {
  count();
  for (const auto& [inode, directory] : retired_) free(inode, directory);
  retired_.clear();
}

}  // namespace dadi::fs
