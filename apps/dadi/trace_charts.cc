#include "apps/dadi/trace_charts.h"

#include <algorithm>
#include <bit>
#include <unordered_map>

#include "apps/dadi/html.h"
#include "apps/dadi/sizes.h"
#include "apps/dadi/trace_axis.h"
#include "apps/dadi/trace_grid.h"

namespace dadi {
namespace {

constexpr unsigned kColumns = 240;
constexpr unsigned kPlaces = 120;       // rows of a chart by place
constexpr unsigned kPlaceHeight = 4;    // pixels of such a row
constexpr std::size_t kFileRows = 40;   // and one for the other files
constexpr unsigned kFileHeight = 18;    // pixels of such a row; the style has it, too
constexpr std::size_t kRowName = 40;    // characters
constexpr std::size_t kFullName = 256;  // where there is room
constexpr unsigned kPlaceMarks = 6;
constexpr double kSeenGap = 0.004;  // of the axis

Bytes total_of(const std::vector<trace::Read>& once) {
  Bytes total{};
  for (const trace::Read& read : once) total = saturating_sum(total, read.size);
  return total;
}

// Where on the axis of time each byte is, as they come.
class Time {
 public:
  explicit Time(Bytes total) : total_(static_cast<double>(std::max<std::uint64_t>(1, total.value))) {}

  struct Span {
    double begin;
    double end;
  };
  Span next(Bytes size) {
    const double begin = now_;
    now_ += static_cast<double>(size.value);
    return {begin / total_, now_ / total_};
  }

 private:
  const double total_;
  double now_ = 0;
};

// Round places on the axis of time, three to six; there is room at its ends.
std::vector<Bytes> time_marks(Bytes total) {
  const std::uint64_t step = std::bit_floor(std::max<std::uint64_t>(4, total.value)) / 4;
  std::vector<Bytes> marks;
  for (std::uint64_t i = 1; i < 8 && i * step < total.value - total.value / 7; ++i) marks.push_back({i * step});
  return marks;
}

double part_of(Bytes mark, Bytes total) {
  return static_cast<double>(mark.value) / static_cast<double>(total.value);
}

std::string time_axis(Bytes total) {
  std::string html = "<div class=\"time\"><span style=\"left:0\">0</span>";
  for (const Bytes mark : time_marks(total))
    append_html(html, "<span style=\"left:{:.2f}%\">{}</span>", part_of(mark, total) * 100, format_size(mark));
  append_html(html, "<span style=\"left:100%\">{} read</span></div>\n", format_size(total));
  return html;
}

// The chart itself; `below` and `above` are what is drawn under and over its cells, in cells.
std::string svg(const TraceGrid& grid, unsigned height, std::string_view label, Bytes total, std::string_view below,
                std::string_view above) {
  std::string html;
  append_html(html,
              "<svg viewBox=\"0 0 {} {}\" preserveAspectRatio=\"none\" style=\"--height:{}px\" role=\"img\" "
              "aria-label=\"{}\">\n{}",
              grid.columns(), grid.rows(), height, label, below);
  html += "<path class=\"lines\" d=\"";
  for (const Bytes mark : time_marks(total))
    append_html(html, "M{:.2f} 0v{}", part_of(mark, total) * grid.columns(), grid.rows());
  html += "\"/>\n<g class=\"cells\" transform=\"translate(0 .5)\">\n";
  std::vector<std::string> paths(std::size_t{TraceColors::kAll} * TraceGrid::kLevels);
  for (const TraceGrid::Run& run : grid.runs())
    append_html(paths[run.series * TraceGrid::kLevels + run.level], "M{} {}h{}", run.column, run.row, run.columns);
  for (std::size_t i = 0; i < paths.size(); ++i) {
    if (paths[i].empty()) continue;
    append_html(html, "<path class=\"s{} l{}\" d=\"{}\"/>\n", i / TraceGrid::kLevels, i % TraceGrid::kLevels, paths[i]);
  }
  append_html(html, "</g>\n{}</svg>\n", above);
  return html;
}

// Which row each file has: those that most is read of one each, in their order, the others the last.
std::vector<std::size_t> rows_of(const std::vector<FileReads>& files) {
  std::vector<std::size_t> rows(files.size());
  for (std::size_t i = 0; i < files.size(); ++i) rows[i] = i;
  if (files.size() <= kFileRows + 1) return rows;
  std::vector<std::size_t> by_size = rows;
  std::ranges::stable_sort(by_size, std::ranges::greater{}, [&](std::size_t i) { return files[i].bytes; });
  by_size.resize(kFileRows);
  std::ranges::sort(by_size);
  std::ranges::fill(rows, kFileRows);
  for (std::size_t row = 0; row < by_size.size(); ++row) rows[by_size[row]] = row;
  return rows;
}

struct FileRow {
  std::size_t files = 0;
  std::string_view path;
  Bytes bytes{};
  Bytes first{};
};

std::vector<FileRow> file_rows(const std::vector<FileReads>& files, const std::vector<std::size_t>& rows) {
  std::vector<FileRow> found(std::min(files.size(), kFileRows + 1));
  for (std::size_t i = 0; i < files.size(); ++i) {
    FileRow& row = found[rows[i]];
    if (row.files++ == 0) row.path = files[i].path, row.first = files[i].first;
    row.bytes = saturating_sum(row.bytes, files[i].bytes);
  }
  return found;
}

std::string row_name(const FileRow& row, std::size_t most) {
  return row.files == 1 ? html_text(row.path, most) : fmt::format("({} more files)", row.files);
}

// Where a place on an axis is, for people.
std::string place_label(const TraceAxis::Place& place, bool by_layer) {
  if (!by_layer) return format_size(place.at);
  return fmt::format("layer {} at {}", place.space + 1ULL, format_size(place.at));
}

std::string chart_by_place(const TraceAxis& axis, const TraceGrid& grid, Bytes total, bool by_layer) {
  std::string html = "<figure class=\"map wide\"><div class=\"places\">";
  std::string widest;  // makes room for all: the others have places, and take none
  for (unsigned i = 0; i <= kPlaceMarks && !axis.empty(); ++i) {
    std::string label = place_label(axis.place(static_cast<double>(i) / kPlaceMarks), by_layer);
    append_html(html, "<span style=\"top:{:.2f}%\">{}</span>", i * 100.0 / kPlaceMarks, label);
    if (label.size() > widest.size()) widest = std::move(label);
  }
  append_html(html, "<b>{}</b>", widest);
  std::string below;
  for (const TraceAxis::Gap& gap : axis.gaps(kSeenGap))
    append_html(below, "<rect class=\"{}\" y=\"{:.2f}\" width=\"{}\" height=\"{:.2f}\"/>",
                gap.between_spaces ? "gap between" : "gap", gap.begin * grid.rows(), grid.columns(),
                (gap.end - gap.begin) * grid.rows());
  append_html(html, "</div>\n{}{}</figure>\n",
              svg(grid, kPlaces * kPlaceHeight, "What was read, by place and time", total, below, ""),
              time_axis(total));
  return html;
}

}  // namespace

std::string chart_by_file(const TracedFiles& traced, const std::vector<FileReads>& files,
                          const std::vector<trace::Read>& once, const TraceColors& colors) {
  const Bytes total = total_of(once);
  const std::vector<std::size_t> row_of = rows_of(files);
  const std::vector<FileRow> rows = file_rows(files, row_of);
  std::unordered_map<std::string_view, std::size_t> numbers;
  for (std::size_t i = 0; i < files.size(); ++i) numbers[files[i].path] = row_of[i];
  TraceGrid grid(kColumns, static_cast<unsigned>(std::max<std::size_t>(1, rows.size())), TraceColors::kAll);
  Time time(total);
  for (const trace::Read& read : once) {
    traced.visit(read, [&](const TracedFiles::Piece& piece) {
      const auto [begin, end] = time.next(piece.size);
      const auto row = static_cast<double>(numbers[piece.file]) + 0.5;
      grid.add(begin, end, row, row, colors.of(read.layer));
    });
  }
  std::string names = "<ol class=\"names\">";
  std::string sizes = "<ol class=\"sizes\">";
  std::string hits;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::string full = row_name(rows[i], kFullName);
    append_html(names, "<li title=\"{}\">{}</li>\n", full, row_name(rows[i], kRowName));
    append_html(sizes, "<li>{}</li>", format_size(rows[i].bytes));
    append_html(
        hits, "<rect class=\"hit\" y=\"{}\" width=\"{}\" height=\"1\"><title>{}: {}, first read at {}</title></rect>\n",
        i, kColumns, full, format_size(rows[i].bytes), format_size(rows[i].first));
  }
  const unsigned height = grid.rows() * kFileHeight;
  return fmt::format("<figure class=\"map byfile\">{}</ol>\n{}{}</ol>\n{}</figure>\n", names,
                     svg(grid, height, "What was read, by file and time", total, "", hits), sizes, time_axis(total));
}

std::string chart_by_device(const TracedFiles& traced, const std::vector<trace::Read>& once,
                            const TraceColors& colors) {
  const auto visit = [&](const auto& visitor) {
    for (const trace::Read& read : once)
      traced.visit(read, [&](const TracedFiles::Piece& piece) { visitor(read.layer, piece); });
  };
  std::vector<TraceAxis::Range> ranges;
  visit([&](std::uint32_t, const TracedFiles::Piece& piece) {
    if (piece.at) ranges.push_back({0, *piece.at, *piece.at + piece.size});
  });
  const TraceAxis axis(std::move(ranges));
  const Bytes total = total_of(once);
  TraceGrid grid(kColumns, kPlaces, TraceColors::kAll);
  Time time(total);
  visit([&](std::uint32_t layer, const TracedFiles::Piece& piece) {
    const auto [begin, end] = time.next(piece.size);
    if (!piece.at) return;
    grid.add(begin, end, axis.at(0, *piece.at) * kPlaces, axis.at(0, *piece.at + piece.size) * kPlaces,
             colors.of(layer));
  });
  return chart_by_place(axis, grid, total, false);
}

std::string chart_by_layer(const std::vector<trace::Read>& once, const TraceColors& colors) {
  std::vector<TraceAxis::Range> ranges;
  ranges.reserve(once.size());
  for (const trace::Read& read : once) ranges.push_back({read.layer, read.offset, read.end()});
  const TraceAxis axis(std::move(ranges));
  const Bytes total = total_of(once);
  TraceGrid grid(kColumns, kPlaces, TraceColors::kAll);
  Time time(total);
  for (const trace::Read& read : once) {
    const auto [begin, end] = time.next(read.size);
    grid.add(begin, end, axis.at(read.layer, read.offset) * kPlaces, axis.at(read.layer, read.end()) * kPlaces,
             colors.of(read.layer));
  }
  return chart_by_place(axis, grid, total, true);
}

}  // namespace dadi
