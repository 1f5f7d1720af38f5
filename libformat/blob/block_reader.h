// A block device, in whole sectors of 512 bytes.
#pragma once

#include <cstddef>
#include <span>

#include "libformat/blob/blob_reader.h"

namespace dadi {

// What a device holds from some sector on, up to the next change of kind. `length` is at least one sector.
struct Extent {
  enum class Kind {
    kData,
    kZero,  // explicitly zero, hiding what lies below
    kHole,  // never written: reads as zeros
  };
  Kind kind = Kind::kHole;
  Sectors length;

  friend bool operator==(const Extent&, const Extent&) = default;
};

// Thread-safe unless an implementation says otherwise.
class BlockReader {
 public:
  virtual ~BlockReader() = default;

  virtual Sectors size() const = 0;

  // Fills all of `out`, or fails as a whole. REQUIRES: out.size() is a multiple of 512.
  virtual Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context = {}) const = 0;

  // REQUIRES: at < size().
  virtual Result<Extent> next_extent(Sectors at) const = 0;
};

}  // namespace dadi
