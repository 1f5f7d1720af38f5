// Which blocks hold a file's content: extent trees, and the lists of block numbers (direct, indirect) of older files.
#pragma once

#include <cstdint>
#include <functional>

#include "libformat/base/result.h"
#include "libfs/ext4/image.h"
#include "libfs/ext4/volume.h"

namespace dadi::fs {

// What a walk over a block map meets, in ascending order of the file's blocks. An error from any of these ends the walk
// and is its result.
struct BlockMapEvents {
  // A run of content blocks, within the file system. Runs never overlap in the file; neighbours are merged.
  std::function<Result<void>(const FileExtent&)> data;
  // A block that holds a part of the map: false skips what it holds. May be empty: every part is walked.
  std::function<Result<bool>(std::uint64_t block)> map_block;
  // What is wrong with the map. No error: the damaged part is skipped, and the walk goes on.
  std::function<Result<void>(Error)> fault;
};

// Blocks [first, first + count) of a file.
struct LogicalRange {
  std::uint64_t first = 0;
  std::uint64_t count = ~std::uint64_t{0};
};

// Walks the parts of the map that `range` needs; runs may reach beyond it. Time and memory are bounded by the blocks of
// the map, of which each is visited once, and an extent tree's depth of 5.
// Errors: those of the events and the device; exhausted (more than 4 million blocks of indirect map).
Result<void> walk_block_map(const Image& image, const Inode& inode, LogicalRange range, const BlockMapEvents& events);

// Whether `map` looks like the root of an extent tree.
bool looks_like_extents(std::span<const std::byte> map);

}  // namespace dadi::fs
