#include "apps/dadi/trace_page.h"

#include <algorithm>
#include <filesystem>

#include "apps/dadi/html.h"
#include "apps/dadi/sizes.h"
#include "apps/dadi/trace_charts.h"
#include "apps/dadi/trace_colors.h"
#include "apps/dadi/trace_page_style.h"
#include "apps/dadi/trace_sums.h"

namespace dadi {
namespace {

constexpr std::size_t kMostRows = 1000;    // of a table
constexpr std::size_t kLongestName = 256;  // characters

// All that the page is made of.
struct TraceFacts {
  const TracePage& page;
  std::vector<trace::Read> once;
  std::map<std::uint32_t, LayerReads> layers;
  LayerReads sum;
  std::vector<FileReads> files;
  TraceColors colors;
};

std::string page_begin(const TracePage& page) {
  const std::string trace = html_text(std::filesystem::path(page.trace).filename().string(), kLongestName);
  const std::string image = html_text(page.image, kLongestName);
  std::string html;
  append_html(
      html,
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n"
      "<style>{}</style>\n</head>\n<body>\n<main>\n<header>\n",
      trace, kTracePageStyle);
  if (image.empty()) {
    append_html(html, "<h1>What <code>{}</code> reads</h1>\n<p>dadi trace show --image REF names the files, too</p>\n",
                trace);
  } else {
    append_html(html, "<h1>What a start of <code>{}</code> reads</h1>\n<p>Trace <code>{}</code></p>\n", image, trace);
  }
  return html + "</header>\n";
}

void add_total(std::string& html, std::string_view name, std::string_view value, std::string_view remark) {
  append_html(html, "<div><dt>{}</dt><dd>{}</dd><dd>{}</dd></div>\n", name, value, remark);
}

std::string totals_section(const TraceFacts& facts) {
  const std::vector<trace::Read>& reads = facts.page.reads;
  std::uint64_t jumps = 0;
  for (std::size_t i = 1; i < reads.size(); ++i)
    jumps += reads[i].layer != reads[i - 1].layer || reads[i].offset != reads[i - 1].end() ? 1 : 0;
  std::string html = "<dl class=\"totals\">\n";
  add_total(html, "Read", format_size(facts.sum.distinct),
            facts.sum.bytes == facts.sum.distinct ? "each byte once"
                                                  : fmt::format("{} with repeats", format_size(facts.sum.bytes)));
  add_total(html, "Reads", std::to_string(reads.size()),
            reads.empty() ? "none" : fmt::format("{} on average", format_size({facts.sum.bytes.value / reads.size()})));
  add_total(html, "Jumps", std::to_string(jumps), "reads that begin elsewhere than the last one ended");
  if (facts.page.files != nullptr) {
    const auto files = std::ranges::count_if(facts.files, [](const FileReads& file) { return file.path[0] == '/'; });
    add_total(html, "Files", std::to_string(files), "and directories");
    add_total(html, "Layers", std::to_string(facts.layers.size()),
              fmt::format("of {}", facts.page.files->layers().size()));
  } else {
    add_total(html, "Layers", std::to_string(facts.layers.size()), "that something is read of");
  }
  return html + "</dl>\n";
}

std::string color_key(const TraceColors& colors) {
  std::string html = "<ul class=\"key\">";
  for (const auto& [layer, color] : colors.own())
    append_html(html, "<li><i class=\"swatch s{}\"></i>layer {}</li>", color, layer + 1ULL);
  if (colors.some_share())
    append_html(html, "<li><i class=\"swatch s{}\"></i>other layers</li>", unsigned{TraceColors::kShared});
  return html + "</ul>\n";
}

constexpr std::string_view kByFile =
    "A row a file, in the order in which files were first read. The stronger a mark, the more of what was read then "
    "was "
    "of that file.";
constexpr std::string_view kByDevice =
    "From the beginning of the device, at the top, to its end. What was not read is left narrow. Headers and indexes "
    "of "
    "layers are not on the device.";
constexpr std::string_view kByLayer =
    "From the bottom layer, at the top, to the topmost, each from the beginning of its file to its end. What was not "
    "read is left narrow.";

std::string charts_section(const TraceFacts& facts) {
  std::string html = "<section class=\"card\">\n<div class=\"head\"><h2>Over time</h2>";
  html += color_key(facts.colors) + "</div>\n";
  if (facts.once.empty()) return html + "<p>Nothing was read.</p>\n</section>\n";
  if (facts.page.files == nullptr) {
    append_html(html, "<p class=\"note\">{}</p>\n{}", kByLayer, chart_by_layer(facts.once, facts.colors));
  } else {
    append_html(
        html,
        "<div class=\"views\">\n<input type=\"radio\" name=\"view\" id=\"v0\" checked><input type=\"radio\" "
        "name=\"view\" id=\"v1\">\n<div class=\"tabs\"><label for=\"v0\">By file</label><label for=\"v1\">On the "
        "device</label></div>\n"
        "<div class=\"view v0\"><p class=\"note\">{}</p>\n{}</div>\n"
        "<div class=\"view v1\"><p class=\"note\">{}</p>\n{}</div>\n</div>\n",
        kByFile, chart_by_file(*facts.page.files, facts.files, facts.once, facts.colors), kByDevice,
        chart_by_device(*facts.page.files, facts.once, facts.colors));
  }
  return html + "</section>\n";
}

// A bar that says which part of all this is.
std::string share_cell(Bytes part, Bytes all, unsigned color) {
  const double share = all.value == 0 ? 0 : static_cast<double>(part.value) / static_cast<double>(all.value);
  return fmt::format("<td class=\"share s{}\"><i style=\"width:{:.1f}%\"></i></td>", color, share * 100);
}

std::string layer_name(const TraceFacts& facts, std::uint32_t layer) {
  const auto* const files = facts.page.files;
  if (files == nullptr) return fmt::format("layer {}", layer + 1ULL);
  if (layer >= files->layers().size()) return fmt::format("layer {}, which the image does not have", layer + 1ULL);
  return html_text(files->layers()[layer], kLongestName);
}

std::string layer_row(const LayerReads& layer) {
  return fmt::format("<td>{}</td><td>{}</td><td>{}</td>", layer.reads, format_size(layer.bytes),
                     format_size(layer.distinct));
}

std::string layers_section(const TraceFacts& facts) {
  std::string html =
      "<section class=\"card\">\n<h2>Layers</h2>\n<div class=\"scroll\"><table>\n<tr><th class=\"left\">Layer</th>"
      "<th>Reads</th><th>Bytes</th><th>Distinct</th><th class=\"share\"></th></tr>\n";
  std::size_t shown = 0;
  LayerReads others;
  for (const auto& [number, layer] : facts.layers) {
    if (shown == kMostRows) {
      others.add(layer);
      continue;
    }
    ++shown;
    const unsigned color = facts.colors.of(number);
    append_html(html, "<tr><td class=\"left\"><i class=\"swatch s{}\"></i>{}</td>{}{}</tr>\n", color,
                layer_name(facts, number), layer_row(layer), share_cell(layer.distinct, facts.sum.distinct, color));
  }
  if (others.reads > 0)
    append_html(html, "<tr><td class=\"left\">{} more</td>{}<td></td></tr>\n", facts.layers.size() - shown,
                layer_row(others));
  append_html(html, "<tr class=\"sum\"><td class=\"left\">all</td>{}<td></td></tr>\n</table></div>\n</section>\n",
              layer_row(facts.sum));
  return html;
}

// Those that most is read of, in the order in which they were first read.
std::vector<std::size_t> shown_files(const std::vector<FileReads>& files) {
  std::vector<std::size_t> numbers(files.size());
  for (std::size_t i = 0; i < files.size(); ++i) numbers[i] = i;
  if (files.size() <= kMostRows) return numbers;
  std::ranges::stable_sort(numbers, std::ranges::greater{}, [&](std::size_t i) { return files[i].bytes; });
  numbers.resize(kMostRows);
  std::ranges::sort(numbers);
  return numbers;
}

std::string files_section(const TraceFacts& facts) {
  if (facts.page.files == nullptr) return "";
  std::string html =
      "<section class=\"card\">\n<h2>Files</h2>\n<div class=\"scroll\"><table>\n<tr><th>Order</th>"
      "<th class=\"left\">File</th><th>Layer</th><th>Read</th><th>First read at</th><th class=\"share\"></th></tr>\n";
  Bytes shown{};
  Bytes most{};
  for (const FileReads& file : facts.files) most = std::max(most, file.bytes);
  const std::vector<std::size_t> numbers = shown_files(facts.files);
  for (const std::size_t i : numbers) {
    const FileReads& file = facts.files[i];
    shown = saturating_sum(shown, file.bytes);
    append_html(html, "<tr><td>{}</td><td class=\"path\">{}</td><td>{}{}</td><td>{}</td><td>{}</td>{}</tr>\n", i + 1,
                html_text(file.path, kLongestName), file.layer + 1ULL, file.other_layers ? " …" : "",
                format_size(file.bytes), format_size(file.first),
                share_cell(file.bytes, most, facts.colors.of(file.layer)));
  }
  if (numbers.size() < facts.files.size())
    append_html(html,
                "<tr><td></td><td class=\"path\">({} more, of which least was read)</td><td></td><td>{}</td></tr>\n",
                facts.files.size() - numbers.size(), format_size(facts.sum.distinct - shown));
  return html + "</table></div>\n</section>\n";
}

}  // namespace

std::string trace_page(const TracePage& page) {
  std::vector<trace::Read> once = trace::without_repeats(page.reads);
  auto layers = reads_by_layer(page.reads, once);
  std::vector<FileReads> files;
  if (page.files != nullptr) files = reads_by_file(*page.files, once);
  TraceColors colors(layers);
  const LayerReads sum = sum_of(layers);
  const TraceFacts facts{page, std::move(once), std::move(layers), sum, std::move(files), std::move(colors)};
  return page_begin(page) + totals_section(facts) + charts_section(facts) + layers_section(facts) +
         files_section(facts) + "</main>\n</body>\n</html>\n";
}

}  // namespace dadi
