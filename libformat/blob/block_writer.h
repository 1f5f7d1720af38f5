// Writing to a block device, in whole sectors of 512 bytes.
#pragma once

#include <cstddef>
#include <span>

#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi {

// Thread-safe: any number of threads may call at once. Calls whose ranges overlap happen one after the other, in some
// order. Every range lies within the device, or the call fails with io. After a failure the range's content is either
// old or new, sector by sector.
class BlockWriter {
 public:
  virtual ~BlockWriter() = default;

  // REQUIRES: data.size() is a multiple of 512. Errors: io, exhausted (no room).
  virtual Result<void> write_at(Sectors at, std::span<const std::byte> data) = 0;

  // The range reads as zeros from now on. Errors: io, exhausted.
  virtual Result<void> write_zeroes(Sectors at, Sectors length) = 0;

  // The range's content is of no use any more; it reads as zeros or as what it was. Errors: io.
  virtual Result<void> discard(Sectors at, Sectors length) = 0;

  // Makes everything durable whose call returned before this one began. Errors: io, exhausted.
  virtual Result<void> flush() = 0;
};

}  // namespace dadi
