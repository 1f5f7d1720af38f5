#include "apps/dadi/trace_axis.h"

#include <algorithm>
#include <tuple>

namespace dadi {
namespace {

constexpr double kRoomForGaps = 0.25;  // of that of what was read: a fifth of all

// Neighbours and what overlaps as one, in order.
std::vector<TraceAxis::Range> joined(std::vector<TraceAxis::Range> ranges) {
  using Range = TraceAxis::Range;
  std::erase_if(ranges, [](const Range& range) { return range.begin >= range.end; });
  std::ranges::sort(ranges, {}, [](const Range& range) { return std::tuple(range.space, range.begin); });
  std::vector<Range> result;
  for (const Range& range : ranges) {
    if (!result.empty() && result.back().space == range.space && range.begin <= result.back().end) {
      result.back().end = std::max(result.back().end, range.end);
    } else {
      result.push_back(range);
    }
  }
  return result;
}

double as_number(Bytes size) {
  return static_cast<double>(size.value);
}

}  // namespace

TraceAxis::TraceAxis(std::vector<Range> ranges) {
  const std::vector<Range> read = joined(std::move(ranges));
  double total = 0;
  for (const Range& range : read) total += as_number(range.end - range.begin);
  const double longest = read.empty() ? 0 : total * kRoomForGaps / static_cast<double>(read.size());
  for (const Range& range : read) {
    if (!stretches_.empty()) {
      const Range& last = stretches_.back().range;
      length_ += last.space == range.space ? std::min(longest, as_number(range.begin - last.end)) : longest;
    }
    const double begin = length_;
    length_ += as_number(range.end - range.begin);
    stretches_.push_back({range, begin, length_});
  }
}

double TraceAxis::at(std::uint32_t space, Bytes place) const {
  const auto after = std::ranges::upper_bound(stretches_, std::tuple(space, place), {}, [](const Stretch& stretch) {
    return std::tuple(stretch.range.space, stretch.range.begin);
  });
  if (after == stretches_.begin()) return 0;
  const Stretch& stretch = *std::prev(after);
  if (place >= stretch.range.end) return stretch.end / length_;
  return (stretch.begin + as_number(place - stretch.range.begin)) / length_;
}

TraceAxis::Place TraceAxis::place(double at) const {
  const double wanted = at * length_;
  const auto stretch = std::ranges::lower_bound(stretches_, wanted, {}, &Stretch::end);
  if (stretch == stretches_.end()) return {stretches_.back().range.space, stretches_.back().range.end};
  const Range& range = stretch->range;
  const double within = std::max(0.0, wanted - stretch->begin);
  return {range.space, std::min(range.end, range.begin + Bytes{static_cast<std::uint64_t>(within)})};
}

std::vector<TraceAxis::Gap> TraceAxis::gaps(double least) const {
  std::vector<Gap> found;
  for (std::size_t i = 1; i < stretches_.size(); ++i) {
    const Stretch& last = stretches_[i - 1];
    const Stretch& next = stretches_[i];
    const bool between = last.range.space != next.range.space;
    const double room = next.begin - last.end;
    const bool shortened = between || room < as_number(next.range.begin - last.range.end);
    if (shortened && room / length_ >= least) found.push_back({last.end / length_, next.begin / length_, between});
  }
  return found;
}

}  // namespace dadi
