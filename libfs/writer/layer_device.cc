#include "libfs/writer/layer_device.h"

#include <algorithm>
#include <vector>

#include "libformat/base/bytes.h"

namespace dadi::fs {

Result<void> LayerDevice::read(BlockNumber block, Block& out) const {
  if (metadata_.get(block, out)) return {};
  if (block >= blocks()) return Error::corruption("block {} is beyond the device's {}", block, blocks());
  auto done = below_.read_at(sector_of(block), out).context("block {}", block);
  if (!done) read_failure_ = done;
  return done;
}

void LayerDevice::put(BlockNumber block, const Block& content, bool fresh) {
  metadata_.put(block, content);
  if (fresh) fresh_.insert(block);
}

Result<bool> LayerDevice::reads_as_zero_below(BlockRange range) const {
  const Sectors end = sector_of(range.start + range.count);
  for (Sectors at = sector_of(range.start); at < end;) {
    DADI_TRY(const Extent extent, below_.next_extent(at));
    if (extent.kind == Extent::Kind::kData) return false;
    at += extent.length;
  }
  return true;
}

Result<void> LayerDevice::put_zeroes(BlockRange range) {
  if (!output_.room_for_zeroes()) {
    static const Block kZeroes{};
    for (std::uint64_t i = 0; i < range.count; ++i) DADI_CHECK(output_.data(range.start + i, kZeroes));
    return {};
  }
  DADI_TRY(const bool already, reads_as_zero_below(range));
  return already ? Result<void>() : output_.zeroes(range);
}

Result<void> LayerDevice::write_data(BlockNumber at, std::span<const std::byte> blocks) {
  const auto is_zero = [&](std::size_t offset) { return all_zero(blocks.subspan(offset, kBlockSize)); };
  for (std::size_t start = 0; start < blocks.size();) {
    const bool zero = is_zero(start);
    std::size_t end = start + kBlockSize;
    while (end < blocks.size() && is_zero(end) == zero) end += kBlockSize;
    const BlockNumber first = at + start / kBlockSize;
    DADI_CHECK(zero ? put_zeroes({first, (end - start) / kBlockSize})
                    : output_.data(first, blocks.subspan(start, end - start)));
    start = end;
  }
  return {};
}

Result<void> LayerDevice::drop(BlockRange range) {
  metadata_.erase(range);
  std::erase_if(fresh_, [&](BlockNumber block) { return block - range.start < range.count; });
  return output_.discard(range);
}

Result<void> LayerDevice::clear(BlockRange range) {
  return output_.room_for_zeroes() ? put_zeroes(range) : Result<void>();
}

Result<void> LayerDevice::finish() {
  Block content;
  Block below;
  for (const BlockNumber block : metadata_.numbers()) {
    metadata_.get(block, content);
    bool same = false;
    if (!fresh_.contains(block)) {
      DADI_CHECK(below_.read_at(sector_of(block), below));
      same = below == content;
    }
    if (!same) DADI_CHECK(all_zero(content) ? put_zeroes({block, 1}) : output_.metadata(block, content, metadata_));
    metadata_.erase({block, 1});
  }
  return {};
}

}  // namespace dadi::fs
