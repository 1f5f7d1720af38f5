#include "libfs/writer/settled_device.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "libformat/base/endian.h"
#include "libfs/ext4/layout.h"
#include "libfs/writer/ext2_file_system.h"

namespace dadi::fs {

namespace {

// What a LayerDevice would write to a layer is kept.
class KeptBlocks final : public LayerOutput {
 public:
  explicit KeptBlocks(std::map<BlockNumber, Block>& blocks) : blocks_(blocks) {}

  Result<void> data(BlockNumber at, std::span<const std::byte> blocks) override {
    for (std::size_t start = 0; start < blocks.size(); start += kBlockSize)
      std::ranges::copy(blocks.subspan(start, kBlockSize), blocks_[at++].begin());
    return {};
  }
  Result<void> metadata(BlockNumber at, const Block& block, BlockStore&) override {
    blocks_[at] = block;
    return {};
  }
  Result<void> zeroes(BlockRange range) override {
    for (std::uint64_t i = 0; i < range.count; ++i) blocks_[range.start + i] = {};
    return {};
  }
  Result<void> discard(BlockRange) override { return {}; }
  bool room_for_zeroes() const override { return true; }

 private:
  std::map<BlockNumber, Block>& blocks_;
};

Result<void> succeed(errcode_t code, const char* what) {
  return code == 0 ? Result<void>() : ext2_error(code, what);
}

Result<ext2_inode_large> read_inode(ext2_filsys fs, ext2_ino_t number) {
  ext2_inode_large inode{};
  DADI_CHECK(succeed(ext2fs_read_inode_full(fs, number, reinterpret_cast<ext2_inode*>(&inode), sizeof inode),
                     "read an inode"));
  return inode;
}

// Without a checksum, which an inode that was never used does not have either.
Result<void> clear_inode(ext2_filsys fs, ext2_ino_t number) {
  std::vector<std::byte> nothing(EXT2_INODE_SIZE(fs->super));
  return succeed(ext2fs_write_inode2(fs, number, reinterpret_cast<ext2_inode*>(nothing.data()),
                                     static_cast<int>(nothing.size()), WRITE_INODE_NOCSUM),
                 "clear an inode");
}

}  // namespace

class SettledDevice::Removal {
 public:
  Removal(SettledDevice& device, const Ext2FileSystem& fs) : device_(device), fs_(fs.get()) {}

  Result<void> remove_journal() {
    DADI_CHECK(remove_orphans());
    DADI_CHECK(remove_orphan_file());
    DADI_CHECK(free_blocks());
    DADI_CHECK(clear_inode(fs_, EXT2_JOURNAL_INO));
    ext2_super_block& super = *fs_->super;
    ext2fs_clear_feature_journal(&super);
    ext2fs_clear_feature_fast_commit(&super);
    super.s_journal_inum = super.s_journal_dev = 0;
    std::memset(super.s_journal_uuid, 0, sizeof super.s_journal_uuid);
    super.s_jnl_backup_type = 0;
    std::memset(super.s_jnl_blocks, 0, sizeof super.s_jnl_blocks);
    super.s_overhead_clusters = 0;  // with the journal's: the kernel counts again
    fs_->flags &= ~EXT2_FLAG_MASTER_SB_ONLY;
    return flush();
  }

  // Whether there was one. Those that were deleted while in use have neither a name nor a time of deletion.
  Result<bool> remove_nameless(const lsmt::SectorSet& written) {
    const std::uint64_t size = EXT2_INODE_SIZE(fs_->super);
    bool found = false;
    for (dgrp_t group = 0; group < fs_->group_desc_count; ++group) {
      if (ext2fs_bg_flags_test(fs_, group, EXT2_BG_INODE_UNINIT) != 0) continue;
      const Bytes table{ext2fs_inode_table_loc(fs_, group) * fs_->blocksize};
      const Bytes end = table + Bytes{fs_->super->s_inodes_per_group * size};
      std::vector<lsmt::SectorRange> parts;
      written.for_each_in({whole_sectors(table), whole_sectors(end)},
                          [&](lsmt::SectorRange range) { parts.push_back(range); });
      for (const lsmt::SectorRange& part : parts) {
        const std::uint64_t last = divide_up((to_bytes(part.end) - table).value, size);
        for (std::uint64_t i = (to_bytes(part.begin) - table).value / size; i < last; ++i) {
          DADI_TRY(const bool removed, remove_if_nameless(static_cast<ext2_ino_t>(
                                           std::uint64_t{group} * fs_->super->s_inodes_per_group + i + 1)));
          found |= removed;
        }
      }
    }
    if (found) DADI_CHECK(flush());
    return found;
  }

 private:
  Result<void> flush() {
    fs_->now = std::max<__u32>(fs_->super->s_wtime, 1);  // 0 means the clock
    ext2fs_mark_super_dirty(fs_);
    return succeed(ext2fs_flush(fs_), "write superblock, descriptors and bitmaps");
  }

  Result<bool> remove_if_nameless(ext2_ino_t number) {
    if (number < EXT2_FIRST_INODE(fs_->super) || number > fs_->super->s_inodes_count) return false;
    if (ext2fs_test_inode_bitmap2(fs_->inode_map, number) == 0) return false;
    DADI_TRY(ext2_inode_large inode, read_inode(fs_, number));
    if (inode.i_links_count != 0 || inode.i_mode == 0 || inode.i_dtime != 0) return false;
    DADI_CHECK(remove(number, inode));
    return true;
  }

  Result<void> free_blocks() {
    DADI_CHECK(succeed(ext2fs_block_iterate3(fs_, EXT2_JOURNAL_INO, BLOCK_FLAG_READ_ONLY, nullptr, free_block, this),
                       "list the journal's blocks"));
    if (outside_ != 0) return Error::corruption("block {} is not one of the file system's", outside_);
    return {};
  }

  static int free_block(ext2_filsys fs, blk64_t* block, e2_blkcnt_t, blk64_t, int, void* self) {
    auto& removal = *static_cast<Removal*>(self);
    if (*block < fs->super->s_first_data_block || *block >= ext2fs_blocks_count(fs->super)) {
      removal.outside_ = *block;
      return BLOCK_ABORT;
    }
    // Of a cluster, which has one bit, the first.
    if (ext2fs_test_block_bitmap2(fs->block_map, *block) != 0) ext2fs_block_alloc_stats2(fs, *block, -1);
    const Sectors length{fs->blocksize / kSectorSize};
    const Sectors begin{*block * length.value};
    removal.device_.freed_.insert({begin, begin + length});
    return 0;
  }

  // The list goes from the superblock through the times of deletion, which its inodes do not have yet.
  Result<void> remove_orphans() {
    ext2_super_block& super = *fs_->super;
    __u32 left = super.s_inodes_count;
    for (ext2_ino_t number = std::exchange(super.s_last_orphan, 0); number != 0;) {
      if (number < EXT2_FIRST_INODE(fs_->super) || number > super.s_inodes_count || left-- == 0)
        return Error::corruption("the list of inodes that wait for their deletion leads to {}", number);
      DADI_TRY(ext2_inode_large inode, read_inode(fs_, number));
      const ext2_ino_t next = inode.i_dtime;
      DADI_CHECK(inode.i_links_count == 0 ? remove(number, inode) : cut(number, inode));
      number = next;
    }
    return {};
  }

  // Where newer file systems have the list instead, which without a journal is a fault.
  Result<void> remove_orphan_file() {
    ext2_super_block& super = *fs_->super;
    if (ext2fs_has_feature_orphan_file(&super) == 0) return {};
    if (ext2fs_has_feature_orphan_present(&super) != 0)
      return Error::unsupported("files without a name are in use, and listed in an orphan file")
          .with_hint("end what has them open, or commit the folder once it is detached");
    ext2fs_clear_feature_orphan_file(&super);
    const ext2_ino_t number = std::exchange(super.s_orphan_file_inum, 0);
    DADI_TRY(ext2_inode_large inode, read_inode(fs_, number));
    return remove(number, inode);
  }

  Result<void> remove(ext2_ino_t number, ext2_inode_large& inode) {
    auto* plain = reinterpret_cast<ext2_inode*>(&inode);
    DADI_CHECK(succeed(ext2fs_free_ext_attr(fs_, number, &inode), "free extended attributes"));
    if (ext2fs_inode_has_valid_blocks2(fs_, plain) != 0)
      DADI_CHECK(succeed(ext2fs_punch(fs_, number, plain, nullptr, 0, ~0ULL), "free a deleted file's blocks"));
    ext2fs_inode_alloc_stats2(fs_, number, -1, LINUX_S_ISDIR(inode.i_mode));
    return clear_inode(fs_, number);
  }

  // A file that was being made shorter.
  Result<void> cut(ext2_ino_t number, ext2_inode_large& inode) {
    auto* plain = reinterpret_cast<ext2_inode*>(&inode);
    const blk64_t end = (EXT2_I_SIZE(plain) + fs_->blocksize - 1) / fs_->blocksize;
    inode.i_dtime = 0;
    if (ext2fs_inode_has_valid_blocks2(fs_, plain) != 0)
      DADI_CHECK(succeed(ext2fs_punch(fs_, number, plain, nullptr, end, ~0ULL), "free the end of a file"));
    return succeed(ext2fs_write_inode_full(fs_, number, plain, sizeof inode), "write an inode");
  }

  SettledDevice& device_;
  ext2_filsys fs_;
  blk64_t outside_ = 0;  // a block that the journal cannot have; 0: none
};

Result<bool> has_journal(const BlockReader& device, const ReadContext& context) {
  std::array<std::byte, layout::kSuperblockSize> raw{};
  const Sectors at = whole_sectors(Bytes{layout::kSuperblockOffset});
  if (device.size() < at + whole_sectors(raw)) return false;
  DADI_CHECK(device.read_at(at, raw, context));
  return load_le<std::uint16_t>(raw, layout::super::kMagic) == layout::super::kMagicValue &&
         (load_le<std::uint32_t>(raw, layout::super::kCompatible) & layout::compatible::kHasJournal) != 0;
}

Result<std::shared_ptr<const SettledDevice>> SettledDevice::without_journal(std::shared_ptr<const BlockReader> device) {
  const std::shared_ptr<SettledDevice> without(new SettledDevice(std::move(device)));
  KeptBlocks kept(without->metadata_);
  LayerDevice over(*without->device_, kept);
  DADI_TRY(const Ext2FileSystem fs, Ext2FileSystem::open_any(over));
  if (fs->super->s_journal_inum != EXT2_JOURNAL_INO) return std::shared_ptr<const SettledDevice>();
  auto removed = Removal(*without, fs).remove_journal();
  DADI_CHECK(over.read_failure());  // the library does not say why it failed
  DADI_CHECK(std::move(removed).context("remove the journal"));
  DADI_CHECK(over.finish());
  return std::shared_ptr<const SettledDevice>(without);
}

Result<std::shared_ptr<const SettledDevice>> SettledDevice::without_nameless(std::shared_ptr<const BlockReader> device,
                                                                             const lsmt::SectorSet& written) {
  const std::shared_ptr<SettledDevice> without(new SettledDevice(std::move(device)));
  KeptBlocks kept(without->metadata_);
  LayerDevice over(*without->device_, kept);
  const auto fs = Ext2FileSystem::open_any(over);
  DADI_CHECK(over.read_failure());
  if (!fs) return std::shared_ptr<const SettledDevice>();
  auto found = Removal(*without, *fs).remove_nameless(written);
  DADI_CHECK(over.read_failure());
  DADI_TRY(const bool any, std::move(found).context("remove files that have no name"));
  if (!any) return std::shared_ptr<const SettledDevice>();
  DADI_CHECK(over.finish());
  return std::shared_ptr<const SettledDevice>(without);
}

Result<void> SettledDevice::read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const {
  DADI_CHECK(device_->read_at(at, out, context));
  const Sectors end = at + whole_sectors(out);
  const auto part = [&](lsmt::SectorRange range) {
    return out.subspan(to_bytes(range.begin - at).value, to_bytes(range.length()).value);
  };
  freed_.for_each_in({at, end}, [&](lsmt::SectorRange range) { std::ranges::fill(part(range), std::byte{0}); });
  for (auto it = metadata_.lower_bound(at.value / kSectorsPerBlock);
       it != metadata_.end() && sector_of(it->first) < end; ++it) {
    const Sectors begin = sector_of(it->first);
    const lsmt::SectorRange range{std::max(at, begin), std::min(end, sector_of(it->first + 1))};
    std::ranges::copy(std::span(it->second).subspan(to_bytes(range.begin - begin).value, part(range).size()),
                      part(range).begin());
  }
  return {};
}

Result<Extent> SettledDevice::next_extent(Sectors at) const {
  const auto block = metadata_.lower_bound(at.value / kSectorsPerBlock);
  Sectors end = size();
  if (block != metadata_.end()) {
    const Sectors begin = sector_of(block->first);
    if (begin <= at)
      return Extent{.kind = Extent::Kind::kData, .length = std::min(end, sector_of(block->first + 1)) - at};
    end = std::min(end, begin);
  }
  std::optional<lsmt::SectorRange> freed;
  freed_.for_each_in({at, end}, [&](lsmt::SectorRange range) {
    if (!freed) freed = range;
  });
  if (freed && freed->begin == at) return Extent{.kind = Extent::Kind::kZero, .length = freed->length()};
  if (freed) end = freed->begin;
  DADI_TRY(Extent extent, device_->next_extent(at));
  extent.length = std::min(extent.length, end - at);
  return extent;
}

lsmt::SectorSet SettledDevice::changed() const {
  lsmt::SectorSet changed = freed_;
  for (const auto& [number, block] : metadata_)
    changed.insert({sector_of(number), std::min(size(), sector_of(number + 1))});
  return changed;
}

}  // namespace dadi::fs
