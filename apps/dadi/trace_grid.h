// A heat map: what was read of which place when, in cells, however many reads there were.
#pragma once

#include <cstdint>
#include <vector>

namespace dadi {

// Columns are time, as bytes read so far; rows are places. Each cell has the amount of each of a few series. One thread
// at a time.
class TraceGrid {
 public:
  // REQUIRES: all > 0. Memory: 8 bytes a cell and series.
  TraceGrid(unsigned columns, unsigned rows, unsigned series);

  // A read from `begin` to `end` on the axis of time, both from 0 to 1, that went from one place to another: in rows,
  // from 0 to rows(). What lies outside is counted at the edge. Time: the cells that it touches.
  void add(double begin, double end, double from, double to, unsigned series);

  // Neighbours in a row that look the same.
  struct Run {
    unsigned row = 0;
    unsigned column = 0;
    unsigned columns = 0;
    unsigned series = 0;  // that has the most of each cell
    unsigned level = 0;   // how much of the columns' time went there: below an eighth, below a half, more
  };
  static constexpr unsigned kLevels = 3;
  // By row, then by column. At most one a cell.
  std::vector<Run> runs() const;

  unsigned columns() const { return columns_; }
  unsigned rows() const { return rows_; }

 private:
  void add_to_column(unsigned column, double amount, double from, double to, unsigned series);

  unsigned columns_;
  unsigned rows_;
  unsigned series_;
  std::vector<double> amounts_;  // of a column's time; by row, column and series
};

}  // namespace dadi
