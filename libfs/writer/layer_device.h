// The device while one layer is planned on it: what lies below, and over it what this layer changes. File data goes to
// the layer at once; metadata waits in memory until the end, and only blocks that differ from below are written.
#pragma once

#include <span>
#include <unordered_set>

#include "libformat/blob/block_reader.h"
#include "libformat/lsmt/layer_writer.h"
#include "libfs/writer/block_store.h"

namespace dadi::fs {

// Takes what a layer writes: the layer's writer, and who else must know (see PlannedStack). One thread at a time.
class LayerOutput {
 public:
  virtual ~LayerOutput() = default;
  virtual Result<void> data(BlockNumber at, std::span<const std::byte> blocks) = 0;
  // `packed` has the block, too, which may be taken from there.
  virtual Result<void> metadata(BlockNumber at, const Block& block, BlockStore& packed) = 0;
  virtual Result<void> zeroes(BlockRange range) = 0;
  virtual Result<void> discard(BlockRange range) = 0;
  // Whether the layer still has room for zeroed segments; past that zeros are stored as data (architecture.md).
  virtual bool room_for_zeroes() const = 0;
};

// One thread at a time. `below` and `output` are borrowed and outlive it.
class LayerDevice {
 public:
  LayerDevice(const BlockReader& below, LayerOutput& output) : below_(below), output_(output) {}

  std::uint64_t blocks() const { return below_.size().value / kSectorsPerBlock; }

  // The block as it now is. File data that this layer wrote cannot be read back.
  Result<void> read(BlockNumber block, Block& out) const;

  // How the last read from below ended that failed: for who reads through somebody that says no more than that it did.
  const Result<void>& read_failure() const { return read_failure_; }

  // Replaces a metadata block. `fresh`: this layer allocated it, so nothing below is worth a comparison.
  void put(BlockNumber block, const Block& content, bool fresh);

  // Writes file data to blocks that this layer allocated; a multiple of the block size.
  Result<void> write_data(BlockNumber at, std::span<const std::byte> blocks);

  // Forgets what this layer wrote to blocks that are no longer in use.
  Result<void> drop(BlockRange range);

  // Blocks that are free now, whatever lies below, read as zeros; unless the layer has no room to say so.
  Result<void> clear(BlockRange range);

  // Writes the metadata blocks that differ from what lies below, in the order of their addresses.
  Result<void> finish();

 private:
  Result<void> put_zeroes(BlockRange range);
  Result<bool> reads_as_zero_below(BlockRange range) const;

  const BlockReader& below_;
  LayerOutput& output_;
  mutable Result<void> read_failure_;
  BlockStore metadata_;
  std::unordered_set<BlockNumber> fresh_;  // of these
};

}  // namespace dadi::fs
