// Which layer of a stack answers for a sector. Format: formats.md, section 1.6.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "libformat/blob/block_reader.h"
#include "libformat/lsmt/cache_line_allocator.h"
#include "libformat/lsmt/search_tree.h"
#include "libformat/lsmt/segment.h"

namespace dadi::lsmt {

inline constexpr std::size_t kMaxLayers = 255;
inline constexpr std::uint64_t kMaxMergedSegments = 128000000;

// The segments of all layers merged into one list, and a tree in which a sector is looked up. O(log segments) a lookup,
// whatever the number of layers. Memory: 17.1 bytes a segment; 18.3 where the device reaches 1 TiB. Immutable, hence
// thread-safe.
class MergedIndex {
 public:
  // Merges layers, bottom first, each in device order and not overlapping. Segments beyond `size` are cut off.
  // Errors: invalid_argument (more than kMaxLayers), exhausted (more than kMaxMergedSegments).
  static Result<MergedIndex> merge(std::span<const std::span<const Segment>> layers, Sectors size);

  Sectors size() const { return size_; }
  std::uint64_t segments() const { return entries_.size(); }

  // A stretch of the device that one segment answers for, or none.
  struct Piece {
    Extent::Kind kind = Extent::Kind::kHole;
    Sectors at{};
    Sectors length{};
    std::size_t layer = 0;  // of data: its number, 0 at the bottom
    Sectors moffset{};      // of data: where `at` is in the layer's file

    constexpr Sectors end() const { return at + length; }
  };

  // Walks the pieces in order, holes included, up to the device's end. The index must outlive it. One thread at a time.
  class Cursor {
   public:
    bool at_end() const { return at_ >= index_->size_; }
    // REQUIRES: !at_end().
    Piece next();

   private:
    friend class MergedIndex;
    Cursor(const MergedIndex& index, std::size_t entry, Sectors at) : index_(&index), entry_(entry), at_(at) {}

    const MergedIndex* index_;
    std::size_t entry_;  // the first that ends behind at_
    Sectors at_;
  };

  Cursor from(Sectors at) const { return from(at, SearchTree::best()); }
  // The same, for tests and benchmarks of both kinds of instructions. REQUIRES: the processor has them.
  Cursor from(Sectors at, SearchTree::Instructions with) const;

 private:
  // A segment and its layer, in the bits of an index record; the layer is in place of the tag.
  class Entry {
   public:
    Entry(const Segment& segment, std::size_t layer);

    Sectors offset() const { return {low_ & kNowhere.value}; }
    Sectors length() const { return {low_ >> 50}; }
    Sectors end() const { return offset() + length(); }
    bool zeroed() const { return (high_ >> 55 & 1) != 0; }
    Sectors moffset() const { return {high_ & kMaxMoffset.value}; }
    std::size_t layer() const { return high_ >> 56; }
    // The part [begin, end) of this. REQUIRES: it is one.
    Entry part(Sectors begin, Sectors end) const;

   private:
    std::uint64_t low_;
    std::uint64_t high_;
  };
  static_assert(sizeof(std::uint64_t) * 2 == 16);
  using Entries = std::vector<Entry, CacheLineAllocator<Entry>>;

  MergedIndex(Entries entries, Sectors size);

  static Entries merge_range(std::span<const std::span<const Segment>> layers, std::size_t first, Sectors size);
  static Entries overlay(const Entries& lower, const Entries& upper);

  // Entries that one key of the tree stands for: as many as a cache line holds.
  static constexpr std::size_t kGroup = 4;

  Entries entries_;  // in device order
  SearchTree tree_;  // where each group ends
  Sectors size_;
};

}  // namespace dadi::lsmt
