// What e2fsck makes of a device: the judge, for a sample of the inputs.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "libformat/blob/block_reader.h"

namespace dadi::fuzz {

// Whether `input` belongs to the sample: one of DADI_FUZZ_E2FSCK inputs does (a variable; default 256; 0: none), and
// whether e2fsck can be run at all.
bool is_for_e2fsck(std::span<const std::byte> input);

// What `e2fsck -fn` complains of; "" of a clean file system. `stale_totals`: that the superblock's totals are wrong is
// known, and no complaint.
std::string e2fsck(const BlockReader& device, bool stale_totals = false);

}  // namespace dadi::fuzz
