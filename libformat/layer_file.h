// A layer as it comes: in a tar envelope or not, compressed or not. Format: formats.md, section 0.
#pragma once

#include <optional>

#include "libformat/blob/blob_reader.h"
#include "libformat/lsmt/layer_reader.h"
#include "libformat/tar_envelope/tar_envelope.h"
#include "libformat/zfile/reader.h"

namespace dadi {

// A layer, and what it was wrapped in. Thread-safe.
struct LayerFile {
  lsmt::LayerReader layer;
  SharedBlob unwrapped;  // the layer's own bytes
  std::optional<tar_envelope::Payload> envelope;
  std::optional<zfile::Info> zfile;
  std::shared_ptr<const zfile::Reader> blocks;  // the ZFile that `unwrapped` is, if it is one
};

// Opens a committed or sealed layer in any legal form; each wrapping is known by its content. What looks
// damaged is read once more, past what caches have.
// Errors: corruption (no layer, or a damaged one), unsupported (TurboOCI metadata, ordinary layers, other
// compressions), those of the blob.
Result<LayerFile> open_layer_file(SharedBlob blob, const ReadContext& context = {});

}  // namespace dadi
