// What a stack of layers means, sector by sector, to hold StackReader against.
#pragma once

#include <map>
#include <vector>

#include "libformat/lsmt/layer_reader.h"
#include "libformat/lsmt/stack_reader.h"
#include "tests/fuzz/layer_draft.h"

namespace dadi::fuzz {

class NaiveStack {
 public:
  // Only sectors below this are looked at.
  static constexpr std::uint64_t kSectors = 1024;

  struct Answer {
    Extent::Kind kind = Extent::Kind::kHole;
    std::size_t layer = 0;
    Sectors moffset;

    friend bool operator==(const Answer&, const Answer&) = default;
  };

  NaiveStack() : answers_(kSectors) {}

  // Puts a segment of a layer over what is there.
  void insert(std::size_t layer, const lsmt::Segment& segment) {
    for (std::uint64_t i = 0; i < segment.length.value && segment.offset.value + i < kSectors; ++i) {
      answers_[segment.offset.value + i] = segment.zeroed
                                               ? Answer{Extent::Kind::kZero, layer, {}}
                                               : Answer{Extent::Kind::kData, layer, segment.moffset + Sectors{i}};
    }
  }

  const std::vector<Answer>& answers() const { return answers_; }

  // That `stack` says the same. `drafted`: every sector of data says whose it is, but for those that were damaged.
  void require_same(const lsmt::StackReader& stack, const std::vector<SharedBlob>& blobs) const {
    const Sectors size{std::min(stack.size().value, kSectors)};
    for (Sectors at; at < size;) {
      const Extent extent = must(stack.next_extent(at), "a device tells its extents");
      require(extent.length.value > 0 && extent.length <= stack.size() - at, "an extent is within the device");
      for (Sectors end = std::min(size, at + extent.length); at < end; at += Sectors{1})
        require(extent.kind == answers_[at.value].kind, "an extent is of the kind of its sectors");
    }
    Data all(to_bytes(size).value);
    must(stack.read_at({}, all), "a device is read");
    for (Sectors at; at < size;) {
      const Sectors length = run_length(at, size);
      const Answer& answer = answers_[at.value];
      Data run(to_bytes(length).value);
      if (answer.kind == Extent::Kind::kData)
        must(blobs[answer.layer]->read_at(to_bytes(answer.moffset), run), "a segment lies within its file");
      require(std::ranges::equal(run, std::span(all).subspan(to_bytes(at).value, run.size())), "a run's content");
      at += length;
    }
    Data one(kSectorSize);
    if (stack.size().value > 0) must(stack.read_at(stack.size() - Sectors{1}, one), "the last sector is read");
    require(!stack.read_at(stack.size(), one), "there is nothing past the end");
  }

 private:
  // How far the answer at `at` goes on.
  Sectors run_length(Sectors at, Sectors end) const {
    Answer next = answers_[at.value];
    Sectors length;
    while (at + length < end && answers_[(at + length).value] == next) {
      length += Sectors{1};
      if (next.kind == Extent::Kind::kData) next.moffset += Sectors{1};
    }
    return length;
  }

  std::vector<Answer> answers_;
};

// What every open layer keeps to, writable ones in what lies beyond their size too.
inline void require_in_order(const lsmt::LayerReader& layer) {
  const Sectors file_end = whole_sectors(layer.blob()->size());
  Sectors end;
  for (const lsmt::Segment& segment : layer.segments()) {
    require(segment.length.value > 0 && segment.offset >= end, "segments are in order");
    require(segment.moffset >= lsmt::kDataStart && segment.mend() <= file_end, "a segment lies within its file");
    end = segment.end();
  }
}

}  // namespace dadi::fuzz
