// Layers as registries store them, decompressed while they are read: gzip (of any number of members), zstd (of any
// number of frames) or plain, told by their first bytes.
#pragma once

#include <memory>
#include <string_view>

#include "libformat/blob/byte_stream.h"

namespace dadi::pipeline {

// One thread at a time. A decompressed stream that ends well has checked the format's own checksums.
class DecompressedSource : public ByteSource {
 public:
  // Takes over `compressed`. next() reads the compressed stream to its own end, so that its verification takes place.
  // Errors of next(): corruption (malformed, cut short, something else behind the end), those of `compressed`.
  static Result<std::unique_ptr<DecompressedSource>> open(std::unique_ptr<ByteSource> compressed);

  virtual std::string_view compression() const = 0;  // "gzip", "zstd" or "none"
};

}  // namespace dadi::pipeline
