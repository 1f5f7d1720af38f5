#include "apps/dadi/trace_grid.h"

#include <algorithm>
#include <cmath>

namespace dadi {
namespace {

constexpr double kSome = 0.125;
constexpr double kMuch = 0.5;

unsigned cell_of(double at, unsigned cells) {
  return static_cast<unsigned>(std::clamp(std::floor(at), 0.0, static_cast<double>(cells - 1)));
}

}  // namespace

TraceGrid::TraceGrid(unsigned columns, unsigned rows, unsigned series)
    : columns_(columns), rows_(rows), series_(series), amounts_(std::size_t{columns} * rows * series) {}

void TraceGrid::add(double begin, double end, double from, double to, unsigned series) {
  begin *= columns_;
  end *= columns_;
  if (!(end > begin)) return;
  const unsigned first = cell_of(begin, columns_);
  const unsigned last = std::max(first, cell_of(end, columns_));
  const double slope = (to - from) / (end - begin);
  for (unsigned column = first; column <= last; ++column) {
    const double left = column == first ? begin : column;
    const double right = column == last ? end : column + 1.0;
    add_to_column(column, right - left, from + (left - begin) * slope, from + (right - begin) * slope, series);
  }
}

void TraceGrid::add_to_column(unsigned column, double amount, double from, double to, unsigned series) {
  if (!(amount > 0)) return;
  const unsigned first = cell_of(from, rows_);
  const unsigned last = std::max(first, cell_of(to, rows_));
  for (unsigned row = first; row <= last; ++row) {
    const double top = row == first ? from : row;
    const double bottom = row == last ? to : row + 1.0;
    const double share = first == last ? 1 : std::clamp((bottom - top) / (to - from), 0.0, 1.0);
    amounts_[(std::size_t{row} * columns_ + column) * series_ + series] += amount * share;
  }
}

std::vector<TraceGrid::Run> TraceGrid::runs() const {
  std::vector<Run> found;
  for (unsigned row = 0; row < rows_; ++row) {
    for (unsigned column = 0; column < columns_; ++column) {
      const double* const cell = &amounts_[(std::size_t{row} * columns_ + column) * series_];
      double amount = 0;
      for (unsigned i = 0; i < series_; ++i) amount += cell[i];
      if (!(amount > 0)) continue;
      const auto series = static_cast<unsigned>(std::max_element(cell, cell + series_) - cell);
      const unsigned level = amount < kSome ? 0 : amount < kMuch ? 1 : 2;
      if (!found.empty()) {
        Run& last = found.back();
        if (last.row == row && last.column + last.columns == column && last.series == series && last.level == level) {
          ++last.columns;
          continue;
        }
      }
      found.push_back({row, column, 1, series, level});
    }
  }
  return found;
}

}  // namespace dadi
