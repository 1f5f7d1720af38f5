// A device in memory that the planned writer writes layers to: the shortest way from an archive to an ext4 volume.
#pragma once

#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "libfs/ext4/volume.h"
#include "libfs/layer_archive.h"
#include "libfs/writer/ext2_file_system.h"
#include "libfs/writer/layer_planner.h"

namespace dadi::fs {

// One thread at a time.
class PlannedDevice final : public BlockReader {
 public:
  explicit PlannedDevice(Bytes size) : size_(size) {}

  Sectors size() const override { return whole_sectors(size_); }

  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext&) const override {
    std::uint64_t offset = to_bytes(at).value;
    if (offset > size_.value || out.size() > size_.value - offset) return Error::io("past the end of the device");
    while (!out.empty()) {
      const std::size_t skip = offset % kBlockSize;
      const std::size_t length = std::min(out.size(), kBlockSize - skip);
      const auto block = blocks_.find(offset / kBlockSize);
      if (block == blocks_.end()) {
        std::memset(out.data(), 0, length);
      } else {
        std::memcpy(out.data(), block->second.data() + skip, length);
      }
      offset += length;
      out = out.subspan(length);
    }
    return {};
  }

  Result<Extent> next_extent(Sectors at) const override {
    const bool data = blocks_.contains(at.value / kSectorsPerBlock);
    return Extent{data ? Extent::Kind::kData : Extent::Kind::kHole, {kSectorsPerBlock - at.value % kSectorsPerBlock}};
  }

  // Applies a layer. The first call makes the file system.
  Result<void> apply(LayerArchive& archive) {
    Changes changes;
    LayerDevice device(*this, changes);
    if (std::exchange(empty_, false)) DADI_CHECK(Ext2FileSystem::format(device, {size_}));
    DADI_TRY(const auto planner, LayerPlanner::open(device));
    DADI_CHECK(planner->apply(archive));
    DADI_CHECK(planner->finish());
    for (const auto& [number, block] : changes.blocks) {
      if (block) {
        blocks_[number] = *block;
      } else {
        blocks_.erase(number);
      }
    }
    return {};
  }

 private:
  // What a layer writes comes to the device when it is finished: until then the writer compares with what was.
  struct Changes final : LayerOutput {
    std::map<BlockNumber, std::unique_ptr<Block>> blocks;  // none: zeros

    Result<void> data(BlockNumber at, std::span<const std::byte> content) override {
      for (; !content.empty(); content = content.subspan(kBlockSize)) {
        auto& block = blocks[at++] = std::make_unique<Block>();
        std::memcpy(block->data(), content.data(), kBlockSize);
      }
      return {};
    }
    Result<void> metadata(BlockNumber at, const Block& block) override { return data(at, block); }
    Result<void> zeroes(BlockRange range) override {
      for (std::uint64_t i = 0; i < range.count; ++i) blocks[range.start + i] = nullptr;
      return {};
    }
    Result<void> discard(BlockRange range) override {
      blocks.erase(blocks.lower_bound(range.start), blocks.lower_bound(range.start + range.count));
      return {};
    }
    bool room_for_zeroes() const override { return true; }
  };

  Bytes size_;
  bool empty_ = true;
  std::map<BlockNumber, Block> blocks_;
};

}  // namespace dadi::fs
