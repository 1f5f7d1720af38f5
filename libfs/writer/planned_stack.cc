#include "libfs/writer/planned_stack.h"

#include <algorithm>
#include <cstring>

#include "libformat/lsmt/segment.h"

namespace dadi::fs {

namespace {

// Removes [start, end) from a map of disjoint runs, cutting those that reach over its edges.
template <typename Runs>
void cut(Runs& runs, BlockNumber start, BlockNumber end) {
  auto run = runs.upper_bound(start);
  if (run != runs.begin()) {
    auto before = std::prev(run);
    if (before->second.end > start) {
      auto whole = before->second;
      before->second.end = start;
      if (whole.end > end) runs.emplace_hint(run, end, whole);
      if (before->first == start) runs.erase(before);
    }
  }
  run = runs.lower_bound(start);
  while (run != runs.end() && run->first < end) {
    auto rest = run->second;
    run = runs.erase(run);
    if (rest.end > end) {
      runs.emplace_hint(run, end, rest);
      break;
    }
  }
}

// Sets [start, end) to one kind, joining it with a run of that kind that ends at start.
template <typename Runs>
void set(Runs& runs, BlockNumber start, BlockNumber end, bool zero) {
  cut(runs, start, end);
  auto after = runs.lower_bound(start);
  if (after != runs.begin()) {
    auto before = std::prev(after);
    if (before->second.end == start && before->second.zero == zero) {
      before->second.end = end;
      return;
    }
  }
  runs.emplace_hint(after, start, typename Runs::mapped_type{end, zero});
}

}  // namespace

Result<void> PlannedStack::read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const {
  if (at > size_ || whole_sectors(out) > size_ - at) return Error::io("read past the end of the device");
  while (!out.empty()) {
    const BlockNumber block = at.value / kSectorsPerBlock;
    const std::size_t skip = at.value % kSectorsPerBlock * kSectorSize;
    const auto piece = out.first(std::min(out.size(), kBlockSize - skip));
    if (Block content; metadata_.get(block, content)) {
      std::memcpy(piece.data(), content.data() + skip, piece.size());
    } else {
      auto run = runs_.upper_bound(block);
      const bool planned = run != runs_.begin() && (--run)->second.end > block;
      if (planned && !run->second.zero)
        return Error::internal("block {} is file data, which planning does not keep", block);
      if (!planned && finished_) {
        DADI_CHECK(finished_->read_at(at, piece, context));
      } else {
        std::ranges::fill(piece, std::byte{0});
      }
    }
    at += whole_sectors(piece);
    out = out.subspan(piece.size());
  }
  return {};
}

Result<Extent> PlannedStack::next_extent(Sectors at) const {
  if (at >= size_) return Error::io("sector {} is past the end of the device", at.value);
  const BlockNumber block = at.value / kSectorsPerBlock;
  auto next = runs_.upper_bound(block);
  if (next != runs_.begin()) {
    const auto& [start, run] = *std::prev(next);
    if (run.end > block) return Extent{run.zero ? Extent::Kind::kZero : Extent::Kind::kData, sector_of(run.end) - at};
  }
  const Sectors end = next == runs_.end() ? size_ : sector_of(next->first);
  if (!finished_) return Extent{Extent::Kind::kHole, end - at};
  DADI_TRY(Extent extent, finished_->next_extent(at));
  extent.length = std::min(extent.length, end - at);
  return extent;
}

void PlannedStack::absorb(Layer&& layer) {
  for (const auto& [start, run] : layer.runs_) {
    set(runs_, start, run.end, run.zero);
    // A metadata block below that this layer wrote over as data, or zeroed, is no longer what the device holds.
    metadata_.erase({start, run.end - start});
  }
  metadata_.merge(std::move(layer.metadata_));
}

void PlannedStack::Layer::cover(BlockRange range, bool zero) {
  set(runs_, range.start, range.start + range.count, zero);
}

void PlannedStack::Layer::uncover(BlockRange range) {
  cut(runs_, range.start, range.start + range.count);
}

Result<void> PlannedStack::Layer::data(BlockNumber at, std::span<const std::byte> blocks) {
  cover({at, blocks.size() / kBlockSize}, false);
  return writer_.write(sector_of(at), blocks);
}

Result<void> PlannedStack::Layer::metadata(BlockNumber at, const Block& block, BlockStore& packed) {
  metadata_.take(at, packed);
  return data(at, block);
}

Result<void> PlannedStack::Layer::zeroes(BlockRange range) {
  cover(range, true);
  return writer_.write_zeroes(sector_of(range.start), {range.count * kSectorsPerBlock});
}

Result<void> PlannedStack::Layer::discard(BlockRange range) {
  uncover(range);
  return writer_.discard(sector_of(range.start), {range.count * kSectorsPerBlock});
}

bool PlannedStack::Layer::room_for_zeroes() const {
  return writer_.records() < lsmt::kZeroedLimit;
}

}  // namespace dadi::fs
