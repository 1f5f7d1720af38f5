// A layer of a source image as the tar stream it stands for, every claim about it checked on the way.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>

#include "libconvert/oci/image_store.h"
#include "libformat/blob/byte_stream.h"

namespace dadi::pipeline {

// Called with the compressed bytes read so far, from the thread that reads.
using ByteProgress = std::function<void(Bytes)>;

struct LayerStreamOptions {
  std::stop_token stop;  // next() fails with cancelled once it is requested
  ByteProgress progress = {};
  bool read_ahead = true;  // read, decompress and hash on a thread of its own
};

// Opens a layer. The stream fails with corruption unless the blob has the descriptor's digest and size and its
// decompressed content the diff id; it must be read to its end for that.
// Errors: those of the source; corruption (not what its format says).
Result<std::unique_ptr<ByteSource>> open_layer_stream(const oci::ImageSource& source, const oci::Descriptor& layer,
                                                      const Digest& diff_id, LayerStreamOptions options);

}  // namespace dadi::pipeline
