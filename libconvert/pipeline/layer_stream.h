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

// Starts to read a layer: the blob is fetched and hashed, decompressed, and hashed again, each by a thread of its own,
// until so much waits. The stream fails with corruption unless the blob has the descriptor's digest and size and its
// decompressed content the diff id; it must be read to its end for that. Destroyed earlier, it breaks off. Memory:
// `ahead`, and 2 MiB compressed. `source` is borrowed.
// Errors of next(): those of the source; corruption (not what its format or the descriptor says); cancelled.
std::unique_ptr<ByteSource> open_layer_stream(const oci::ImageSource& source, const oci::Descriptor& layer,
                                              const Digest& diff_id, LayerStreamOptions options);

}  // namespace dadi::pipeline
