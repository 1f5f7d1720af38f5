#include "libformat/lsmt/merged_index.h"

#include <algorithm>

namespace dadi::lsmt {

MergedIndex::Entry::Entry(const Segment& segment, std::size_t layer)
    : low_(segment.offset.value | segment.length.value << 50),
      high_(segment.moffset.value | std::uint64_t{segment.zeroed} << 55 | std::uint64_t{layer} << 56) {}

MergedIndex::Entry MergedIndex::Entry::part(Sectors begin, Sectors end) const {
  const Sectors moved = zeroed() ? Sectors{} : begin - offset();
  return {{.offset = begin, .length = end - begin, .moffset = moffset() + moved, .zeroed = zeroed()}, layer()};
}

// All of `upper`, and of `lower` what shows in its gaps.
MergedIndex::Entries MergedIndex::overlay(const Entries& lower, const Entries& upper) {
  Entries merged;
  merged.reserve(lower.size() + upper.size());
  auto above = upper.begin();
  for (const Entry& entry : lower) {
    for (Sectors at = entry.offset(); at < entry.end();) {
      while (above != upper.end() && above->end() <= at) merged.push_back(*above++);
      if (above == upper.end() || above->offset() >= entry.end()) {
        merged.push_back(entry.part(at, entry.end()));
        break;
      }
      if (above->offset() > at) merged.push_back(entry.part(at, above->offset()));
      at = above->end();
    }
  }
  merged.insert(merged.end(), above, upper.end());
  return merged;
}

// Halves first, so that a segment is copied log2(layers) times, not once a layer.
MergedIndex::Entries MergedIndex::merge_range(std::span<const std::span<const Segment>> layers, std::size_t first,
                                              Sectors size) {
  if (layers.size() > 1) {
    const std::size_t half = layers.size() / 2;
    return overlay(merge_range(layers.first(half), first, size), merge_range(layers.subspan(half), first + half, size));
  }
  Entries entries;
  entries.reserve(layers[0].size());
  for (Segment segment : layers[0]) {
    if (segment.offset >= size) break;
    segment.length = std::min(segment.length, size - segment.offset);
    entries.emplace_back(segment, first);
  }
  return entries;
}

Result<MergedIndex> MergedIndex::merge(std::span<const std::span<const Segment>> layers, Sectors size) {
  if (layers.empty() || layers.size() > kMaxLayers)
    return Error::invalid_argument("a stack of {} layers; 1 to {} are possible", layers.size(), kMaxLayers);
  std::uint64_t segments = 0;
  for (const auto& layer : layers) segments += layer.size();
  if (segments > kMaxMergedSegments)
    return Error::exhausted("{} segments in the stack's layers, more than {}", segments, kMaxMergedSegments);
  return MergedIndex(merge_range(layers, 0, size), size);
}

MergedIndex::MergedIndex(Entries entries, Sectors size) : entries_(std::move(entries)), size_(size) {
  const auto end_of_group = [&](std::size_t group) {
    return entries_[std::min(group * kGroup + kGroup, entries_.size()) - 1].end().value;
  };
  tree_ = SearchTree(divide_up(entries_.size(), kGroup), end_of_group);
}

MergedIndex::Cursor MergedIndex::from(Sectors at, SearchTree::Instructions with) const {
  if (entries_.empty() || at >= entries_.back().end()) return {*this, entries_.size(), at};
  const std::size_t first = tree_.upper_bound(at.value, with) * kGroup;
  // The group's last entry ends behind `at`; of the others, those that do not are passed over. No branch: which it is
  // cannot be predicted.
  std::size_t passed = 0;
  for (std::size_t i = 0; i + 1 < kGroup; ++i)
    passed += entries_[std::min(first + i, entries_.size() - 1)].end() <= at ? 1 : 0;
  return {*this, first + passed, at};
}

MergedIndex::Piece MergedIndex::Cursor::next() {
  Piece piece{.kind = Extent::Kind::kHole, .at = at_};
  if (entry_ == index_->entries_.size()) {
    piece.length = index_->size_ - at_;
  } else if (const Entry entry = index_->entries_[entry_]; entry.offset() > at_) {
    piece.length = entry.offset() - at_;
  } else {
    piece.length = entry.end() - at_;
    piece.kind = entry.zeroed() ? Extent::Kind::kZero : Extent::Kind::kData;
    piece.layer = entry.layer();
    piece.moffset = entry.zeroed() ? Sectors{} : entry.moffset() + (at_ - entry.offset());
    ++entry_;
  }
  at_ = piece.end();
  return piece;
}

}  // namespace dadi::lsmt
