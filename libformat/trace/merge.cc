#include <algorithm>
#include <map>
#include <utility>

#include "libformat/trace/trace.h"

namespace dadi::trace {
namespace {

// The distinct bytes that a trace reads, in order of place.
std::vector<Read> places(std::vector<Read> reads) {
  std::erase_if(reads, [](const Read& read) { return read.size.value == 0; });
  std::ranges::sort(reads);
  std::vector<Read> joined;
  for (const Read& read : reads) {
    if (!joined.empty() && joined.back().layer == read.layer && read.offset <= joined.back().end()) {
      joined.back().size = std::max(joined.back().end(), read.end()) - joined.back().offset;
    } else {
      joined.push_back(read);
    }
  }
  return joined;
}

// Bytes that are still to be read.
class Wanted {
 public:
  using Place = std::pair<std::uint32_t, Bytes>;  // layer and offset

  // What at least `least` of the traces read.
  Wanted(std::span<const std::vector<Read>> traces, std::size_t least) {
    std::map<Place, std::int64_t> changes;  // of how many traces read from there on
    for (const auto& reads : traces) {
      for (const Read& read : places(reads)) {
        ++changes[{read.layer, read.offset}];
        --changes[{read.layer, read.end()}];
      }
    }
    std::int64_t readers = 0;
    Place begin;
    for (const auto& [place, change] : changes) {
      const bool was = readers >= static_cast<std::int64_t>(least);
      readers += change;
      const bool is = readers >= static_cast<std::int64_t>(least);
      if (is && !was) begin = place;
      if (was && !is) ends_.emplace(begin, place.second);
    }
  }

  // Moves what is wanted of `read` to the end of `reads`.
  void take(const Read& read, std::vector<Read>& reads) {
    if (read.size.value == 0) return;
    auto at = ends_.upper_bound({read.layer, read.offset});
    if (at != ends_.begin() && reaches(std::prev(at), read)) --at;
    while (at != ends_.end() && at->first.first == read.layer && at->first.second < read.end()) {
      const auto [begin, end] = std::pair(at->first.second, at->second);
      at = ends_.erase(at);
      const Read taken{read.layer, std::max(begin, read.offset),
                       std::min(end, read.end()) - std::max(begin, read.offset)};
      if (begin < taken.offset) ends_.emplace(Place{read.layer, begin}, taken.offset);
      if (taken.end() < end) at = ends_.emplace(Place{read.layer, taken.end()}, end).first;
      append(taken, reads);
    }
  }

 private:
  using Ends = std::map<Place, Bytes>;

  static bool reaches(Ends::const_iterator range, const Read& read) {
    return range->first.first == read.layer && range->second > read.offset;
  }

  static void append(const Read& read, std::vector<Read>& reads) {
    if (!reads.empty() && reads.back().layer == read.layer && reads.back().end() == read.offset) {
      reads.back().size += read.size;
    } else {
      reads.push_back(read);
    }
  }

  Ends ends_;  // of ranges, by their beginnings
};

}  // namespace

std::vector<Read> merge(std::span<const std::vector<Read>> traces, std::size_t least) {
  Wanted wanted(traces, least);
  std::size_t longest = 0;
  for (const auto& reads : traces) longest = std::max(longest, reads.size());
  std::vector<Read> merged;
  for (std::size_t i = 0; i < longest; ++i) {
    for (const auto& reads : traces) {
      if (i < reads.size()) wanted.take(reads[i], merged);
    }
  }
  return merged;
}

std::vector<Read> without_repeats(const std::vector<Read>& reads) {
  return merge({&reads, 1}, 1);
}

}  // namespace dadi::trace
