// Reads at any byte, from a device of sectors.
#pragma once

#include <cstddef>
#include <span>

#include "libformat/blob/block_reader.h"

namespace dadi::nbd {

// Fills all of `out` from `offset` on, reading the sectors around where they are not aligned. REQUIRES: the range lies
// within the device. Errors: those of the device.
Result<void> read_bytes(const BlockReader& device, Bytes offset, std::span<std::byte> out, const ReadContext& context);

}  // namespace dadi::nbd
