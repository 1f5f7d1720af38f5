// What one layer holds of a device while it is written: an interval map in which the later write wins.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <vector>

#include "libformat/lsmt/segment.h"

namespace dadi::lsmt {

// Neighbours that continue each other, on the device and in the file, are one run in here, however long. O(log n) a
// change, constant for runs in ascending order; about 80 bytes a run. One thread at a time.
class SegmentMap {
 public:
  // Puts a segment of any length over whatever was there. A zeroed one's moffset is of no account.
  // REQUIRES: segment.end() <= kNowhere.
  void insert(const Segment& segment);

  // Forgets everything about [offset, offset + length). REQUIRES: offset + length <= kNowhere.
  void erase(Sectors offset, Sectors length);

  // How many index records the map takes now, padding not counted. Exact, and constant in time.
  std::uint64_t size() const { return records_ + zeroed_records_; }
  std::uint64_t zeroed_size() const { return zeroed_records_; }
  // Sectors of data that the map refers to.
  Sectors data() const { return data_; }
  // Where the last segment ends.
  Sectors end() const { return runs_.empty() ? Sectors{} : runs_.rbegin()->second.end; }

  // Calls visit(Segment) for every record, in device order: size() of them, none longer than kMaxMergedLength. A zeroed
  // one's moffset is where the data before it ended, as the reference writes it.
  template <typename Visit>
  void for_each(Visit visit) const;

  std::vector<Segment> segments() const;

  // Calls visit(Segment) for the parts of [begin, end) that the map knows, in device order, each as long as it goes on,
  // as long as visit returns true. O(log n) to the first.
  template <typename Visit>
  void for_each_in(Sectors begin, Sectors end, Visit visit) const;

 private:
  struct Run {
    Sectors end;
    Sectors moffset;
    bool zeroed = false;
  };
  using Runs = std::map<Sectors, Run>;  // by first sector; never overlapping

  static bool continues(const Runs::value_type& first, const Runs::value_type& second);
  void cut_out(Sectors begin, Sectors end);
  void count(Sectors begin, const Run& run);
  void uncount(Sectors begin, const Run& run);

  Runs runs_;
  std::uint64_t records_ = 0;  // of data
  std::uint64_t zeroed_records_ = 0;
  Sectors data_;
};

template <typename Visit>
void SegmentMap::for_each(Visit visit) const {
  Sectors cursor = kDataStart;
  for (const auto& [begin, run] : runs_) {
    for (Sectors at = begin; at < run.end;) {
      const Sectors length = std::min(run.end - at, kMaxMergedLength);
      const Segment segment{at, length, run.zeroed ? cursor : run.moffset + (at - begin), run.zeroed};
      visit(segment);
      cursor = segment.mend();
      at += length;
    }
  }
}

template <typename Visit>
void SegmentMap::for_each_in(Sectors begin, Sectors end, Visit visit) const {
  auto at = runs_.upper_bound(begin);
  if (at != runs_.begin() && std::prev(at)->second.end > begin) --at;
  for (; at != runs_.end() && at->first < end; ++at) {
    const auto& [first, run] = *at;
    const Sectors from = std::max(first, begin);
    const Segment segment{from, std::min(run.end, end) - from, run.zeroed ? run.moffset : run.moffset + (from - first),
                          run.zeroed};
    if (!visit(segment)) return;
  }
}

}  // namespace dadi::lsmt
