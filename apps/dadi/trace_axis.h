// An axis of places that leaves little room to what was not read.
#pragma once

#include <cstdint>
#include <vector>

#include "libformat/base/units.h"

namespace dadi {

// Of several address spaces, one after the other. Each byte that was read has as much room as any other; gaps between
// them are at most as long as they are, and take at most a fifth of the axis. Time: n log n of the ranges.
class TraceAxis {
 public:
  struct Range {
    std::uint32_t space = 0;
    Bytes begin{};
    Bytes end{};
  };

  // Of any ranges, in any order, that may overlap; empty ones are left out.
  explicit TraceAxis(std::vector<Range> ranges);

  bool empty() const { return stretches_.empty(); }
  // Where on the axis, from 0 to 1, something lies. REQUIRES: it is in one of the ranges, or one's end.
  double at(std::uint32_t space, Bytes place) const;

  struct Place {
    std::uint32_t space = 0;
    Bytes at{};
  };
  // What lies there. REQUIRES: the axis is not empty.
  Place place(double at) const;

  struct Gap {
    double begin = 0;
    double end = 0;
    bool between_spaces = false;
  };
  // Those that were shortened, and take at least `least` of the axis.
  std::vector<Gap> gaps(double least) const;

 private:
  struct Stretch {  // that was read as a whole
    Range range;
    double begin;  // on the axis, in bytes
    double end;
  };

  std::vector<Stretch> stretches_;  // in order, not overlapping
  double length_ = 0;
};

}  // namespace dadi
