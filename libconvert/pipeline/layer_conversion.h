// One layer of an image, planned on those below it and written as a block layer. Internal to this folder.
#pragma once

#include "libconvert/pipeline/convert.h"
#include "libconvert/pipeline/layer_blob.h"
#include "libfs/writer/planned_stack.h"

namespace dadi::pipeline {

// One layer's place in its image.
struct LayerTask {
  std::size_t number = 0;  // 0: bottom
  const oci::Descriptor& source;
  const Digest& diff_id;
  const Digest& chain_id;
  const Digest* chain_below = nullptr;  // none: bottom
  fs::ArchiveBudget& budget;            // of the image
};

// A layer that others can be planned on, while its blob is still being written.
struct PlannedLayer {
  std::unique_ptr<LayerBlob> blob;
  ConvertedLayer layer;  // without its result
};

// Plans the layer on `stack` and makes it a part of that. The bottom layer makes the file system first. `stream` is the
// layer's. Sets `out_of_room` when the file system was too small.
Result<PlannedLayer> plan_layer(ByteSource& stream, oci::ImageDestination& destination, const LayerTask& task,
                                fs::PlannedStack& stack, CompressionWorkers& workers, const ConvertOptions& options,
                                bool& out_of_room);

// The rest, on any thread.
Result<ConvertedLayer> finish_layer(PlannedLayer planned, oci::Family family);

// A virtual size that holds all layers of an image, by reading them. Errors: those of the layers' streams; exhausted
// (the limits).
Result<Bytes> fitting_virtual_size(const oci::ImageSource& source, const oci::SelectedImage& image,
                                   const ConvertOptions& options);

}  // namespace dadi::pipeline
