// Blocks of the file systems that are written: numbers, ranges, contents.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "libformat/base/units.h"

namespace dadi::fs {

inline constexpr std::size_t kBlockSize = 4096;
inline constexpr std::uint64_t kSectorsPerBlock = kBlockSize / kSectorSize;
using Block = std::array<std::byte, kBlockSize>;
using BlockNumber = std::uint64_t;

struct BlockRange {
  BlockNumber start = 0;
  std::uint64_t count = 0;
};

constexpr Sectors sector_of(BlockNumber block) {
  return {block * kSectorsPerBlock};
}

}  // namespace dadi::fs
