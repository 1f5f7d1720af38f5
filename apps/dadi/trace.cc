// dadi trace show|merge: what starts of an image read
#include "libformat/trace/trace.h"

#include <map>
#include <optional>

#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/new_file.h"
#include "apps/dadi/printable.h"
#include "apps/dadi/sizes.h"
#include "apps/dadi/table.h"
#include "apps/dadi/trace_file.h"
#include "apps/dadi/trace_page.h"
#include "apps/dadi/trace_sums.h"
#include "libformat/base/bytes.h"

namespace dadi {
namespace {

using Reads = std::vector<trace::Read>;

struct TraceOptions {
  std::string file;
  bool reads = false;
  bool html = false;
  ImageOptions image;
  std::vector<std::string> files;
  std::string output;
  unsigned seen_in = 1;
};

Json layers_json(const std::map<std::uint32_t, LayerReads>& layers) {
  Json all = Json::array();
  for (const auto& [number, layer] : layers)
    all.push_back({{"layer", number},
                   {"reads", layer.reads},
                   {"bytes", layer.bytes.value},
                   {"distinct_bytes", layer.distinct.value}});
  return all;
}

using enum Table::Align;

std::string layers_table(const std::map<std::uint32_t, LayerReads>& layers) {
  Table table({{"LAYER", kRight}, {"READS", kRight}, {"BYTES", kRight}, {"DISTINCT", kRight}});
  for (const auto& [number, layer] : layers)
    table.add({std::to_string(number + 1ULL), std::to_string(layer.reads), format_size(layer.bytes),
               format_size(layer.distinct)});
  const LayerReads sum = sum_of(layers);
  table.add({"all", std::to_string(sum.reads), format_size(sum.bytes), format_size(sum.distinct)});
  return table.render();
}

// A list of files needs the image that it is of.
Result<Reads> reads_of(Session& session, const TraceFile& file, const TraceOptions& options) {
  if (options.image.reference.empty()) return file.recorded();
  return file.reads_of(session, options.image);
}

// A page goes to a file, or is the answer itself.
Result<void> show_page(Session& session, const TraceOptions& options) {
  const bool to_stdout = options.output.empty();
  if (to_stdout && session.options.json)
    return Error::invalid_argument("--html and --json, and one stdout").with_hint("-o FILE is where the page goes");
  if (!to_stdout) DADI_CHECK(check_replaceable(options.output));
  DADI_TRY(const TraceFile given, TraceFile::load(options.file, session.read_context()));
  DADI_TRY(const Reads reads, reads_of(session, given, options));
  std::optional<TracedFiles> files;
  if (!options.image.reference.empty()) {
    DADI_TRY(files, TracedFiles::open(session, options.image).context("{}", options.image.reference));
  }
  const std::string page = trace_page({options.file, options.image.reference, reads, files ? &*files : nullptr});
  if (to_stdout) {
    session.out().text(page);
    return {};
  }
  DADI_TRY(const auto written, NewFile::create(options.output));
  DADI_CHECK(written->write_at({0}, as_bytes(page)));
  DADI_CHECK(written->publish({page.size()}));
  if (session.options.json) {
    session.answer({{"path", options.output}, {"size", page.size()}});
  } else {
    session.out().print("{}: {}\n", session.shown(options.output), format_size({page.size()}));
  }
  return {};
}

Result<void> show(Session& session, const TraceOptions& options) {
  if (options.html) return show_page(session, options);
  if (!options.output.empty())
    return Error::invalid_argument("-o without --html").with_hint("without --html the answer goes to stdout");
  DADI_TRY(const TraceFile given, TraceFile::load(options.file, session.read_context()));
  DADI_TRY(const Reads reads, reads_of(session, given, options));
  const Reads once = trace::without_repeats(reads);
  const auto layers = reads_by_layer(reads, once);
  std::vector<FileReads> files;
  const bool with_files = !options.image.reference.empty();
  if (with_files) {
    DADI_TRY(const TracedFiles traced,
             TracedFiles::open(session, options.image).context("{}", options.image.reference));
    files = reads_by_file(traced, once);
  }
  if (session.options.json) {
    Json answer = Json::object();
    if (given.origin()) answer["image"] = given.origin()->image.to_string();
    answer["layers"] = layers_json(layers);
    if (with_files) {
      answer["files"] = Json::array();
      for (const FileReads& file : files)
        answer["files"].push_back({{"path", as_utf8(file.path)}, {"distinct_bytes", file.bytes.value}});
    }
    if (options.reads) {
      answer["reads"] = Json::array();
      for (const auto& read : reads)
        answer["reads"].push_back({{"layer", read.layer}, {"offset", read.offset.value}, {"size", read.size.value}});
    }
    session.answer(answer);
    return {};
  }
  if (given.origin()) session.out().print("recorded on {}\n\n", given.origin()->image.to_string());
  session.out().text(layers_table(layers));
  if (with_files) {
    Table table({{"ORDER", kRight}, {"BYTES", kRight}, {"FILE"}});
    std::size_t order = 0;
    for (const FileReads& file : files)
      table.add({std::to_string(++order), format_size(file.bytes), session.shown(file.path)});
    session.out().print("\n{}", table.render());
  }
  if (options.reads) {
    Table table({{"LAYER", kRight}, {"OFFSET", kRight}, {"SIZE", kRight}});
    for (const auto& read : reads)
      table.add(
          {std::to_string(read.layer + 1ULL), std::to_string(read.offset.value), std::to_string(read.size.value)});
    session.out().print("\n{}", table.render());
  }
  return {};
}

Result<void> merge(Session& session, const TraceOptions& options) {
  if (options.seen_in > options.files.size()) {
    return Error::invalid_argument("--seen-in {}, of {}", options.seen_in, format_count(options.files.size(), "trace"));
  }
  DADI_CHECK(check_recordable(options.output));
  std::vector<Reads> traces;
  std::optional<TraceOrigin> origin;
  bool all_known = true;
  for (const std::string& file : options.files) {
    DADI_TRY(const TraceFile one, TraceFile::load(file, session.read_context()));
    DADI_TRY(traces.emplace_back(), one.recorded());
    all_known = all_known && one.origin();
    if (!origin) origin = one.origin();
    if (one.origin() && one.origin()->layers != origin->layers)
      return Error::invalid_argument("{} was recorded on {}, and others on {}, whose layers are not the same", file,
                                     one.origin()->image.to_string(), origin->image.to_string());
  }
  if (!all_known) origin.reset();
  const Reads merged = trace::merge(traces, options.seen_in);
  DADI_TRY(const std::uint64_t count, write_trace(options.output, merged, origin));
  if (session.options.json) {
    session.answer({{"path", options.output}, {"reads", count}, {"bytes", trace::total(merged).value}});
  } else {
    session.out().print("{}: {}, {}\n", session.shown(options.output), format_count(count, "read"),
                        format_size(trace::total(merged)));
  }
  return {};
}

}  // namespace

void add_trace(CommandLine& line, Session& session) {
  auto& options = session.keep<TraceOptions>();
  auto group = line.add("trace", "What starts of an image read: look at it, join it",
                        "dadi trace show app.trace --image oci:debian-dadi\n"
                        "dadi trace merge monday.trace tuesday.trace -o app.trace");
  auto showing = group.add("show", "What was read, by layer, and by file with --image",
                           "dadi trace show app.trace\n"
                           "dadi trace show app.trace --image oci:debian-dadi\n"
                           "dadi trace show files.txt --image oci:debian-dadi\n"
                           "dadi trace show app.trace --image oci:debian-dadi --html -o app.html\n"
                           "dadi trace show app.trace --image oci:debian-dadi --json | jq -r '.files[].path'");
  showing.argument("TRACE", options.file, "File: a trace, or a list of files of --image")
      .option("--image", options.image.reference, "REF", "The converted image that it is of: names the files")
      .option("--platform", options.image.platform, "OS/ARCH", "Which of an index's images, as in linux/arm64")
      .flag("--reads", options.reads, "Every read, in order")
      .flag("--html", options.html, "As a page for a browser, with charts of what was read when")
      .instead_of_previous()
      .option("-o,--output", options.output, "FILE", "Where the page is written; by default stdout");
  add_registry_options(showing, options.image.registry);
  showing.run([&] { session.finish(show(session, options).context("trace show {}", options.file)); });

  auto merging = group.add("merge", "Several recordings as one: each byte once, in the order in which any wanted it",
                           "dadi trace merge monday.trace tuesday.trace -o app.trace\n"
                           "dadi trace merge --seen-in 2 one.trace two.trace three.trace -o app.trace");
  merging.arguments("TRACE", options.files, "Files: traces of one image")
      .option("-o,--output", options.output, "FILE", "Where the result is written")
      .required()
      .option("--seen-in", options.seen_in, "N", "Leave out what fewer than N of them read")
      .at_least(1);
  merging.run([&] { session.finish(merge(session, options).context("trace merge")); });
  add_trace_attach(group, session);
}

}  // namespace dadi
