// A stack of layers read as one device. Format: formats.md, section 1.6.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libformat/blob/block_reader.h"
#include "libformat/lsmt/layer_reader.h"
#include "libformat/lsmt/merged_index.h"

namespace dadi::lsmt {

// The topmost layer that maps a sector answers for it; a zeroed segment answers with zeros and hides what lies below; a
// sector that no layer maps reads as zeros.
//
// One merged index serves every lookup, so cost does not grow with the number of layers: see there for its memory. The
// layers' own lists of segments are let go.
//
// Thread-safe: any number of threads may read at once. Reads block; deadlines and cancellation are the layers' own (see
// ReadContext).
class StackReader final : public BlockReader {
 public:
  // Stacks `layers`, bottom first, 1 to 255 of them, and takes ownership. `names` is what errors call them, one each;
  // without, it is "layer N", 0 at the bottom.
  // Errors: invalid_argument (none, too many), exhausted (more than kMaxMergedSegments).
  static Result<std::unique_ptr<StackReader>> open(std::vector<LayerReader> layers,
                                                   std::vector<std::string> names = {});

  // The virtual size of the topmost layer that states one.
  Sectors size() const override { return index_.size(); }

  // Fills all of `out`, or fails as a whole. REQUIRES: out.size() is a multiple of 512.
  // Errors: those of the layer that was read, with its name as context; io past the end.
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context = {}) const override;

  // What the device holds from `at` on: data, zeros or a hole, up to the next change of kind. Errors: io past the end.
  Result<Extent> next_extent(Sectors at) const override;

  const MergedIndex& index() const { return index_; }

 private:
  struct Layer {
    std::string name;
    SharedBlob blob;
  };
  StackReader(std::vector<Layer> layers, MergedIndex index) : layers_(std::move(layers)), index_(std::move(index)) {}

  std::vector<Layer> layers_;  // bottom first
  MergedIndex index_;
};

}  // namespace dadi::lsmt
