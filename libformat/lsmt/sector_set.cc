#include "libformat/lsmt/sector_set.h"

namespace dadi::lsmt {

void SectorSet::erase(SectorRange range) {
  if (range.begin >= range.end) return;
  auto at = ranges_.upper_bound(range.begin);
  if (at != ranges_.begin() && std::prev(at)->second > range.begin) --at;
  while (at != ranges_.end() && at->first < range.end) {
    const auto [begin, end] = *at;
    at = ranges_.erase(at);
    sectors_ -= end - begin;
    if (begin < range.begin) {
      ranges_.emplace_hint(at, begin, range.begin);
      sectors_ += range.begin - begin;
    }
    if (end > range.end) {
      ranges_.emplace_hint(at, range.end, end);
      sectors_ += end - range.end;
    }
  }
}

void SectorSet::insert(SectorRange range) {
  if (range.begin >= range.end) return;
  auto at = ranges_.upper_bound(range.begin);
  if (at != ranges_.begin() && std::prev(at)->second >= range.begin) --at;
  while (at != ranges_.end() && at->first <= range.end) {
    range = {std::min(range.begin, at->first), std::max(range.end, at->second)};
    sectors_ -= at->second - at->first;
    at = ranges_.erase(at);
  }
  ranges_.emplace_hint(at, range.begin, range.end);
  sectors_ += range.length();
}

}  // namespace dadi::lsmt
