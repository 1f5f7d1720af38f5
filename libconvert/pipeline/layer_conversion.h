// One layer of an image, planned on those below it and written as a block layer. Internal to this folder.
#pragma once

#include "libconvert/pipeline/convert.h"
#include "libconvert/pipeline/layer_blob.h"
#include "libconvert/pipeline/layer_stream.h"
#include "libfs/writer/planned_stack.h"

namespace dadi::pipeline {

// An archive that is to become a block layer, and its place.
struct SourceLayer {
  std::string name;        // for people: "layer 2"
  oci::Descriptor source;  // the archive as it is stored
  Digest diff_id;
  OpenLayer open;
  Digest chain;         // what stands for this archive and all that lies below it: the layer is kept under that
  lsmt::Uuid uuid;      // of the block layer
  lsmt::Uuid parent;    // of the one below
  bool bottom = false;  // nothing lies below: makes the file system, which the chain names
};

// "layer 2 (sha256:ab12cd34ef56)".
std::string full_name(const SourceLayer& layer);

// A layer that others can be planned on, while its blob is still being written.
struct PlannedLayer {
  std::unique_ptr<LayerBlob> blob;
  ConvertedLayer layer;              // without its result
  std::shared_ptr<const void> used;  // what planning needed: to give it back takes time, of which there will be some
};

// Plans the layer on `stack` and makes it a part of that. `stream` is the layer's; `budget` that of all layers. Sets
// `out_of_room` when the file system was too small.
Result<PlannedLayer> plan_layer(ByteSource& stream, oci::ImageDestination& destination, const SourceLayer& layer,
                                fs::ArchiveBudget& budget, fs::PlannedStack& stack, CompressionWorkers& workers,
                                const ConvertOptions& options, bool& out_of_room);

// The rest, on any thread.
Result<ConvertedLayer> finish_layer(PlannedLayer planned, oci::Family family);

// A virtual size that holds all layers of an image, by reading them. Errors: those of the layers' streams; exhausted
// (the limits).
Result<Bytes> fitting_virtual_size(const oci::ImageSource& source, const oci::SelectedImage& image,
                                   const ConvertOptions& options);

}  // namespace dadi::pipeline
