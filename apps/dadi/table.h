// Columns that line up, for people.
#pragma once

#include <string>
#include <vector>

namespace dadi {

// One thread at a time.
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // REQUIRES: as many cells as columns. Cells are shown as they are: text from images goes through printable() first.
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }

  // Two spaces between columns, no trailing blanks, every line ends with a newline. Without rows: the titles alone.
  std::string render() const;

 private:
  std::string line(const std::vector<std::string>& cells, const std::vector<std::size_t>& widths) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace dadi
