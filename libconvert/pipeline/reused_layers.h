// The layers of a sequence that a cache has. Internal to this folder.
#pragma once

#include <memory>
#include <vector>

#include "libconvert/pipeline/layer_sequence.h"
#include "libformat/blob/block_reader.h"

namespace dadi::pipeline {

// From the bottom up to the first that must be converted.
struct ReusedLayers {
  std::vector<ConvertedLayer> layers;
  // The device that they make with what lies below, for the layer above: none if nothing is there, or nothing is to be
  // converted.
  std::shared_ptr<const BlockReader> device;
};

// Finds them in `options.cache`, which may be null, and sees to it that `destination` has their blobs. What of the
// cache cannot be used, or contradicts its key, is converted. Errors: those of the destination; exhausted (the budget:
// as if the layers had been read), cancelled.
Result<ReusedLayers> reuse_layers(const LayerSequence& sequence, oci::ImageDestination& destination, oci::Family family,
                                  const ConvertOptions& options, fs::ArchiveBudget& budget, ConvertObserver& observer);

// Under which key a layer is kept.
Digest key_of_layer(const Digest& chain, const ConvertOptions& options);

}  // namespace dadi::pipeline
