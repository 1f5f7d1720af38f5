// A layer of a source image as the tar stream it stands for, every claim about it checked on the way.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>

#include "libconvert/oci/image_store.h"
#include "libformat/blob/byte_stream.h"

namespace dadi::pipeline {

// Called with the compressed bytes read so far, from a thread of the stream's own.
using ByteProgress = std::function<void(Bytes)>;

struct LayerStreamOptions {
  std::stop_token stop;  // next() fails with cancelled once it is requested
  ByteProgress progress = {};
  Bytes ahead{std::uint64_t{8} << 20};  // how much of the tar stream may wait to be taken
};

// Opens a layer as it is stored, compressed or not. Called by any thread.
using OpenLayer = std::function<Result<std::unique_ptr<ByteSource>>(const ReadContext&)>;

// A layer of an image, of which the digest and size are verified. `source` is borrowed.
OpenLayer opener(const oci::ImageSource& source, const oci::Descriptor& layer);

// Starts to read a layer: what `open` gives is fetched, decompressed, and hashed, each by a thread of its own, until so
// much waits. The stream fails with corruption unless the decompressed content has the diff id; it must be read to its
// end for that. Destroyed earlier, it breaks off. Memory: `ahead`, and 2 MiB compressed.
// Errors of next(): those of what was opened; corruption (not what its format or the diff id says); cancelled.
std::unique_ptr<ByteSource> open_layer_stream(OpenLayer open, const Digest& diff_id, LayerStreamOptions options);

}  // namespace dadi::pipeline
