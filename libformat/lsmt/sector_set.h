// A set of sectors, kept as ranges that neither overlap nor touch.
#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <map>

#include "libformat/base/units.h"

namespace dadi::lsmt {

struct SectorRange {
  Sectors begin;
  Sectors end;

  constexpr Sectors length() const { return end - begin; }
  friend bool operator==(const SectorRange&, const SectorRange&) = default;
};

// O(log n) a change, and one step for each range that it swallows. One thread at a time.
class SectorSet {
 public:
  void insert(SectorRange range);
  void erase(SectorRange range);
  void clear() { ranges_.clear(), sectors_ = {}; }
  void merge(const SectorSet& other) {
    other.for_each([this](SectorRange range) { insert(range); });
  }

  bool empty() const { return ranges_.empty(); }
  Sectors sectors() const { return sectors_; }         // in all ranges
  std::size_t size() const { return ranges_.size(); }  // ranges

  template <typename Visit>
  void for_each(Visit visit) const {
    for (const auto& [begin, end] : ranges_) visit(SectorRange{begin, end});
  }
  // The parts of `within` that are in the set.
  template <typename Visit>
  void for_each_in(SectorRange within, Visit visit) const {
    auto at = ranges_.upper_bound(within.begin);
    if (at != ranges_.begin() && std::prev(at)->second > within.begin) --at;
    for (; at != ranges_.end() && at->first < within.end; ++at)
      visit(SectorRange{std::max(at->first, within.begin), std::min(at->second, within.end)});
  }

 private:
  std::map<Sectors, Sectors> ranges_;  // where each begins and ends
  Sectors sectors_;
};

}  // namespace dadi::lsmt
