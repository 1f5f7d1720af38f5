// What the layers planned so far left behind: the device below the next layer, from memory, over the finished blobs of
// layers that were not planned here. It keeps every metadata block, and of file data only where there is some: planning
// never reads that. Planning on it gives the same layer as planning on the finished blobs.
#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "libfs/writer/layer_device.h"

namespace dadi::fs {

// One thread at a time.
class PlannedStack final : public BlockReader {
 public:
  // An empty device: no layer yet. REQUIRES: size is a multiple of the block size.
  explicit PlannedStack(Bytes size) : size_(whole_sectors(size)) {}
  // The device that finished layers make. REQUIRES: as above.
  explicit PlannedStack(std::shared_ptr<const BlockReader> finished)
      : size_(finished->size()), finished_(std::move(finished)) {}

  Sectors size() const override { return size_; }
  // Errors: internal (file data of a planned layer was asked for), those of the finished layers.
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const override;
  Result<Extent> next_extent(Sectors at) const override;

  // A layer being planned on this. Its output goes to `writer`; absorb() makes it part of the stack.
  class Layer final : public LayerOutput {
   public:
    explicit Layer(lsmt::LayerWriter& writer) : writer_(writer) {}
    Result<void> data(BlockNumber at, std::span<const std::byte> blocks) override;
    Result<void> metadata(BlockNumber at, const Block& block, BlockStore& packed) override;
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
  std::shared_ptr<const BlockReader> finished_;  // null: nothing lies below
  Runs runs_;
  BlockStore metadata_;
};

}  // namespace dadi::fs
