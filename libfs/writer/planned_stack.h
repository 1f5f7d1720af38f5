// What the layers planned so far left behind: the device below the next layer, from memory. It keeps every metadata
// block, and of file data only where there is some: planning never reads that. Planning on it gives the same layer as
// planning on the finished blobs.
#pragma once

#include <cstdint>
#include <map>

#include "libfs/writer/layer_device.h"

namespace dadi::fs {

// One thread at a time.
class PlannedStack final : public BlockReader {
 public:
  // An empty device: no layer yet. REQUIRES: size is a multiple of the block size.
  explicit PlannedStack(Bytes size) : size_(whole_sectors(size)) {}

  Sectors size() const override { return size_; }
  // Errors: internal (file data of a layer was asked for).
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const override;
  Result<Extent> next_extent(Sectors at) const override;

  // A layer being planned on this. Its output goes to `writer`; absorb() makes it part of the stack.
  class Layer final : public LayerOutput {
   public:
    explicit Layer(lsmt::LayerWriter& writer) : writer_(writer) {}
    Result<void> data(BlockNumber at, std::span<const std::byte> blocks) override;
    Result<void> metadata(BlockNumber at, const Block& block) override;
    Result<void> zeroes(BlockRange range) override;
    Result<void> discard(BlockRange range) override;
    bool room_for_zeroes() const override;

   private:
    friend class PlannedStack;
    struct Run {
      BlockNumber end;
      bool zero;
    };
    void cover(BlockRange range, bool zero);
    void uncover(BlockRange range);

    lsmt::LayerWriter& writer_;
    std::map<BlockNumber, Run> runs_;  // disjoint, by start
    BlockStore metadata_;
  };

  void absorb(Layer&& layer);

 private:
  using Runs = std::map<BlockNumber, Layer::Run>;

  Sectors size_;
  Runs runs_;
  BlockStore metadata_;
};

}  // namespace dadi::fs
