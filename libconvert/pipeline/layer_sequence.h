// Archives that become block layers, one planned on the other, several under way at once. Internal to this folder.
#pragma once

#include <vector>

#include "libconvert/pipeline/layer_conversion.h"
#include "libformat/lsmt/layer_reader.h"

namespace dadi::pipeline {

struct LayerSequence {
  std::vector<lsmt::LayerReader> below;  // finished layers of the same device, bottom first
  std::vector<SourceLayer> layers;       // on top of those, bottom first
};

// Writes the layers' blobs into `destination`, from options.cache where it has them, and keeps there what it has not.
// Borrows all arguments; options.virtual_size is that of the device. Sets `out_of_room` when that was too small.
// Errors, with the layer as context: those of the layers' streams, of `below`, of the planner and of the destination;
// exhausted (also options.limits), cancelled.
Result<std::vector<ConvertedLayer>> convert_layers(const LayerSequence& sequence, oci::ImageDestination& destination,
                                                   oci::Family family, const ConvertOptions& options,
                                                   CompressionWorkers& workers, ConvertObserver& observer,
                                                   bool& out_of_room);

}  // namespace dadi::pipeline
