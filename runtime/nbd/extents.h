// What a device holds, asked for again and again along the device.
#pragma once

#include <memory>

#include "libformat/blob/block_reader.h"

namespace dadi::nbd {

// next_extent(), with the last answer kept where the device does not change: an extent may be long, and finding its end
// may cost time in proportion. One thread.
class Extents {
 public:
  Extents(const BlockReader& device, bool changing) : device_(&device), changing_(changing) {}

  // As BlockReader::next_extent. REQUIRES: at < device.size().
  Result<Extent> next(Sectors at) {
    if (changing_ || at < from_ || at >= from_ + last_.length) {
      DADI_TRY(last_, device_->next_extent(at));
      from_ = at;
    }
    return Extent{last_.kind, from_ + last_.length - at};
  }

 private:
  const BlockReader* device_;
  bool changing_;
  Sectors from_;
  Extent last_;  // from from_ on; of no length: none
};

}  // namespace dadi::nbd
