#include "libformat/lsmt/segment_map.h"

#include <iterator>

namespace dadi::lsmt {

bool SegmentMap::continues(const Runs::value_type& first, const Runs::value_type& second) {
  const auto& [begin, run] = first;
  const auto& [next, other] = second;
  return run.end == next && run.zeroed == other.zeroed &&
         (run.zeroed || run.moffset + (run.end - begin) == other.moffset);
}

void SegmentMap::count(Sectors begin, const Run& run) {
  const Sectors length = run.end - begin;
  (run.zeroed ? zeroed_records_ : records_) += divide_up(length.value, kMaxMergedLength.value);
  if (!run.zeroed) data_ += length;
}

void SegmentMap::uncount(Sectors begin, const Run& run) {
  const Sectors length = run.end - begin;
  (run.zeroed ? zeroed_records_ : records_) -= divide_up(length.value, kMaxMergedLength.value);
  if (!run.zeroed) data_ -= length;
}

// Makes a gap of [begin, end): runs inside go, those across its edges keep what is outside.
void SegmentMap::cut_out(Sectors begin, Sectors end) {
  auto at = runs_.upper_bound(begin);
  if (at != runs_.begin() && std::prev(at)->second.end > begin) --at;
  while (at != runs_.end() && at->first < end) {
    const auto [first, run] = *at;
    uncount(first, run);
    if (first < begin) {
      at->second.end = begin;
      count(first, at->second);
      ++at;
    } else {
      at = runs_.erase(at);
    }
    if (run.end > end) {
      const Run rest{run.end, run.zeroed ? run.moffset : run.moffset + (end - first), run.zeroed};
      count(end, rest);
      runs_.emplace_hint(at, end, rest);
      return;
    }
  }
}

void SegmentMap::erase(Sectors offset, Sectors length) {
  if (length.value > 0) cut_out(offset, offset + length);
}

void SegmentMap::insert(const Segment& segment) {
  if (segment.length.value == 0) return;
  const bool appends = segment.offset >= end();
  if (appends && !runs_.empty()) {  // mostly what is written continues what was
    auto& last = *runs_.rbegin();
    if (continues(last, {segment.offset, Run{segment.end(), segment.moffset, segment.zeroed}})) {
      uncount(last.first, last.second);
      last.second.end = segment.end();
      count(last.first, last.second);
      return;
    }
  }
  if (!appends) cut_out(segment.offset, segment.end());
  auto next = appends ? runs_.end() : runs_.lower_bound(segment.end());
  auto added = runs_.emplace_hint(next, segment.offset, Run{segment.end(), segment.moffset, segment.zeroed});
  if (next != runs_.end() && continues(*added, *next)) {
    uncount(next->first, next->second);
    added->second.end = next->second.end;
    runs_.erase(next);
  }
  if (added != runs_.begin() && continues(*std::prev(added), *added)) {
    const auto before = std::prev(added);
    uncount(before->first, before->second);
    before->second.end = added->second.end;
    runs_.erase(added);
    added = before;
  }
  count(added->first, added->second);
}

std::vector<Segment> SegmentMap::segments() const {
  std::vector<Segment> all;
  all.reserve(size());
  for_each([&](const Segment& segment) { all.push_back(segment); });
  return all;
}

}  // namespace dadi::lsmt
