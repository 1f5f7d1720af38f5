// Layers as registries store them, decompressed while they are read: gzip (of any number of members), zstd (of any
// number of frames) or plain, told by their first bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "libformat/blob/byte_stream.h"

namespace dadi::pipeline {

// One thread at a time. A decompressed stream that ends well has checked the format's own checksums.
class DecompressedSource {
 public:
  // Takes over `compressed`, and reads its first piece. Errors: those of `compressed`.
  static Result<std::unique_ptr<DecompressedSource>> open(std::unique_ptr<ByteSource> compressed);
  virtual ~DecompressedSource() = default;

  // The next bytes, into `out`; returns how many, 0 at the end. By then the compressed stream was read to its own end,
  // so that its verification took place. REQUIRES: out is not empty. Errors: corruption (malformed, cut short,
  // something else behind the end), those of `compressed`.
  virtual Result<std::size_t> read(std::span<std::byte> out) = 0;

  virtual std::string_view compression() const = 0;  // "gzip", "zstd" or "none"
};

}  // namespace dadi::pipeline
