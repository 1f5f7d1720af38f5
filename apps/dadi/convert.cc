// dadi convert SRC DST
#include "libconvert/pipeline/convert.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <thread>

#include "apps/dadi/archive_limits.h"
#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/compression.h"
#include "apps/dadi/conversion_cache.h"
#include "apps/dadi/large_pages.h"
#include "apps/dadi/optimize_progress.h"
#include "apps/dadi/sizes.h"
#include "apps/dadi/table.h"
#include "apps/dadi/trace_file.h"
#include "libconvert/oci/staging.h"
#include "libconvert/registry/image_store.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi {
namespace {

struct ConvertCommand {
  std::string source;
  std::string destination;
  std::string platform;
  bool all_platforms = false;
  CompressionOptions compression;
  std::string virtual_size = "64G";
  LimitOptions limits;
  std::string media_types;
  std::string digest_file;
  bool referrer = false;
  std::string trace;  // a file
  bool layout = false;
  unsigned jobs = std::max(1u, std::thread::hardware_concurrency());
  bool dry_run = false;
  ConversionCacheOptions cache;
  RegistryOptions registry;
};

// Shows a conversion as one task a layer.
class ConvertProgress final : public pipeline::ConvertObserver {
 public:
  explicit ConvertProgress(Session& session) : session_(session) {}

  void image_selected(const oci::SelectedImage& image) override {
    tasks_.assign(image.manifest.layers.size(), nullptr);
    session_.detail(fmt::format("{}: {} layers", image.platform.to_string(), tasks_.size()));
  }
  void layer_started(std::size_t number, const oci::Descriptor& source) override {
    tasks_[number] = session_.progress().start(
        fmt::format("layer {}/{} {}", number + 1, tasks_.size(), source.digest.brief()), source.size);
  }
  void layer_read(std::size_t number, Bytes compressed) override { tasks_[number]->set_done(compressed); }
  void layer_finished(std::size_t number, const pipeline::ConvertedLayer& layer) override {
    tasks_[number]->finish();
    session_.detail(fmt::format("{}{} entries, {} segments, {} of blocks in {}", layer.cached ? "from the cache: " : "",
                                layer.entries, layer.segments, format_size(layer.data),
                                format_size(layer.result.size)));
  }
  void note(const std::string& text) override { session_.note(text); }

 private:
  Session& session_;
  std::vector<std::shared_ptr<Progress::Task>> tasks_;  // of the image's layers
};

Result<pipeline::ConvertOptions> parse_options(Session& session, const ConvertCommand& command) {
  pipeline::ConvertOptions options;
  DADI_TRY(options.compression, parse_compression(command.compression));
  DADI_TRY(options.virtual_size, parse_size(command.virtual_size).context("--virtual-size"));
  DADI_TRY(options.limits, parse_limits(command.limits, options.virtual_size));
  if (!command.platform.empty()) {
    if (command.all_platforms) return Error::invalid_argument("--platform and --all-platforms exclude each other");
    DADI_TRY(options.select.platform, oci::parse_platform(command.platform));
  }
  options.select.all = command.all_platforms;
  if (command.media_types == "oci") options.media_types = oci::Family::kOci;
  if (command.media_types == "docker") options.media_types = oci::Family::kDocker;
  if (command.referrer) {
    if (command.media_types == "docker") return Error::invalid_argument("Docker's manifests refer to no other image");
    options.media_types = oci::Family::kOci;
    options.referrer = true;
  }
  if (command.layout && command.trace.empty()) return Error::invalid_argument("--layout is by a trace: --trace FILE");
  if (!command.trace.empty() && (command.all_platforms || command.referrer))
    return Error::invalid_argument("a trace is of one image, which has a name of its own");
  options.jobs = command.jobs;
  options.stop = session.stop();
  return options;
}

Json layer_json(const pipeline::ConvertedLayer& layer) {
  return {{"source", layer.source.digest.to_string()},
          {"source_size", layer.source.size.value},
          {"digest", layer.result.digest.to_string()},
          {"size", layer.result.size.value},
          {"entries", layer.entries},
          {"segments", layer.segments},
          {"data_size", layer.data.value},
          {"cached", layer.cached}};
}

void answer(Session& session, const std::string& destination, const pipeline::ConvertResult& result) {
  if (!session.options.json) return session.out().print("{}\n", result.root.digest.to_string());
  Json images = Json::array();
  for (const pipeline::ConvertedImage& image : result.images) {
    Json layers = Json::array();
    for (const pipeline::ConvertedLayer& layer : image.layers) layers.push_back(layer_json(layer));
    images.push_back({{"platform", image.platform.to_string()},
                      {"source", image.source.digest.to_string()},
                      {"digest", image.manifest.digest.to_string()},
                      {"layers", std::move(layers)}});
  }
  session.answer({{"reference", destination},
                  {"digest", result.root.digest.to_string()},
                  {"media_type", result.root.media_type},
                  {"images", std::move(images)}});
}

// What would be converted, from the manifests alone.
Result<void> show_plan(Session& session, const oci::ImageSource& source, const pipeline::ConvertOptions& options) {
  DADI_TRY(const oci::Selection selection, oci::select(source, options.select));
  Json images = Json::array();
  for (const oci::SelectedImage& image : selection.images) {
    Json layers = Json::array();
    Table table({{"LAYER", Table::Align::kRight}, {"DIGEST"}, {"SIZE", Table::Align::kRight}});
    for (std::size_t i = 0; i < image.manifest.layers.size(); ++i) {
      const oci::Descriptor& layer = image.manifest.layers[i];
      table.add({std::to_string(i + 1), layer.digest.brief(), format_size(layer.size)});
      layers.push_back({{"source", layer.digest.to_string()}, {"source_size", layer.size.value}});
    }
    images.push_back({{"platform", image.platform.to_string()},
                      {"source", image.descriptor.digest.to_string()},
                      {"layers", std::move(layers)}});
    if (!session.options.json) session.out().print("{}\n{}", image.platform.to_string(), table.render());
  }
  for (const std::string& note : selection.notes) session.note(note);
  if (session.options.json) session.answer({{"dry_run", true}, {"images", std::move(images)}});
  return {};
}

// Where the result goes. What refers to an image is in its repository; without DST it has no tag there.
Result<oci::Reference> destination_of(const ConvertCommand& command, const oci::Reference& from) {
  if (command.referrer && from.kind != oci::Reference::Kind::kRegistry)
    return Error::invalid_argument("--referrer is for an image on a registry, which {} is not", from.to_string());
  if (command.destination.empty() && command.referrer) {
    oci::Reference untagged = from;
    untagged.tag.clear();
    untagged.digest.reset();
    return untagged;
  }
  if (command.destination.empty()) return Error::invalid_argument("where to? DST is missing");
  DADI_TRY(oci::Reference to, oci::parse_reference(command.destination));
  if (command.referrer && (to.kind != from.kind || to.host != from.host || to.repository != from.repository))
    return Error::invalid_argument("what refers to {} must be in its repository, and {} is elsewhere", from.to_string(),
                                   to.to_string());
  return to;
}

// Converts in a folder for temporary files, and puts the result where it belongs with the trace on top.
Result<pipeline::ConvertResult> convert_with_trace(Session& session, const ConvertCommand& command,
                                                   const TraceFile& file, const oci::ImageSource& source,
                                                   oci::ImageDestination& destination,
                                                   const pipeline::ConvertOptions& options) {
  std::error_code failed;
  const auto parent = std::filesystem::temp_directory_path(failed);
  if (failed) return Error::from_errno(failed.value(), "the system's temporary folder");
  DADI_TRY(const auto folder, oci::StagingFolder::create(parent));
  DADI_TRY(const oci::Reference there, oci::parse_reference("oci:" + (folder.path() / "image").string()));
  DADI_TRY(const auto staged, oci::open_destination(there));
  ConvertProgress observer(session);
  DADI_TRY(pipeline::ConvertResult result, pipeline::convert(source, *staged, options, observer));
  pipeline::ConvertedImage& image = result.images.front();
  pipeline::OptimizeOptions laying_out;
  laying_out.platform = image.platform;
  laying_out.level = options.compression.level;
  laying_out.jobs = options.jobs;
  laying_out.stop = options.stop;
  if (!command.layout)
    for (const pipeline::ConvertedLayer& layer : image.layers) laying_out.kept.insert(layer.result.digest);
  DADI_TRY(const auto trace,
           file.reads_of(
               session,
               {.reference = there.to_string(), .platform = image.platform.to_string(), .registry = {}, .lazy = {}}));
  DADI_TRY(const auto converted, oci::open_source(there));
  OptimizeProgress progress(session);
  DADI_TRY(const auto done, pipeline::optimize(*converted, destination, trace, laying_out, progress));
  note_left_out(session, done.left_out);
  result.root = image.manifest = done.root;
  for (std::size_t i = 0; i < done.layers.size(); ++i) image.layers[i].result = done.layers[i].result;
  return result;
}

Result<void> run_convert(Session& session, const ConvertCommand& command) {
  prefer_large_pages();
  DADI_TRY(pipeline::ConvertOptions options, parse_options(session, command));
  DADI_TRY(const oci::Reference from, parse_image_reference(session, command.source));
  const registry::Access access = registry_access(session, command.registry);
  DADI_TRY(const auto source, registry::open_source(from, access));
  std::optional<TraceFile> trace;
  if (!command.trace.empty()) {
    DADI_TRY(trace, TraceFile::load(command.trace, session.read_context()));
  }
  if (command.dry_run) return show_plan(session, *source, options);
  DADI_TRY(oci::Reference to, destination_of(command, from));
  DADI_TRY(const OpenedConversionCache cache, open_conversion_cache(session, command.cache, access));
  options.cache = cache.cache.get();
  registry::Access writing = access;
  if (cache.from && cache.from->host == to.host && cache.from->repository != to.repository)
    writing.mount_from = cache.from->repository;
  DADI_TRY(const auto destination, registry::open_destination(to, writing).context("{}", to.to_string()));
  ConvertProgress observer(session);
  DADI_TRY(const pipeline::ConvertResult result,
           command.trace.empty() ? pipeline::convert(*source, *destination, options, observer)
                                 : convert_with_trace(session, command, *trace, *source, *destination, options));
  if (!command.digest_file.empty()) {
    DADI_CHECK(replace_file(command.digest_file, as_bytes(result.root.digest.to_string() + "\n")));
  }
  if (command.destination.empty()) to.digest = result.root.digest;
  answer(session, to.to_string(), result);
  finish_conversion_cache(session, cache, to, access);
  return {};
}

}  // namespace

void add_convert(CommandLine& line, Session& session) {
  auto& options = session.keep<ConvertCommand>();
  auto command = line.add("convert", "Turn an OCI or Docker image into one of layered block devices",
                          "dadi convert oci:debian oci:debian-dadi\n"
                          "dadi convert --compression zstd --block-size 16K oci:debian oci:debian-small\n"
                          "dadi convert docker-archive:saved.tar oci-archive:saved-dadi.tar\n"
                          "dadi convert --referrer docker://localhost:5000/debian:12\n"
                          "dadi convert --trace app.trace --layout oci:debian oci:debian-laid-out");
  command.argument("SRC", options.source, "Image, as in oci:DIR:TAG or docker-archive:FILE")
      .optional_argument("DST", options.destination, "Where the result goes, as in oci:DIR:TAG or oci-archive:FILE")
      .option("--platform", options.platform, "OS/ARCH",
              "Which image of an index, as in linux/arm64; default: this machine's")
      .flag("--all-platforms", options.all_platforms, "All images of an index, and an index of the results");
  add_compression_options(command, options.compression);
  command.option("--virtual-size", options.virtual_size, "SIZE",
                 "Size of the device, which costs nothing until it is used");
  add_limit_options(command, options.limits);
  command.option("--media-types", options.media_types, "FAMILY", "oci or docker; default: those of the source")
      .one_of({"oci", "docker"})
      .flag("--referrer", options.referrer, "The result lies beside SRC, and is found by its name")
      .option("--trace", options.trace, "FILE", "A trace of the result, or a list of files, to put on top")
      .flag("--layout", options.layout, "Lay the result out by it, as dadi optimize does")
      .option("--digestfile", options.digest_file, "FILE", "Also write the result's digest to a file")
      .option("-j,--jobs", options.jobs, "N", "Threads that compress; changes no byte of the result")
      .at_least(1)
      .flag("--dry-run", options.dry_run, "Only show what would be converted");
  add_conversion_cache_options(command, options.cache);
  add_registry_options(command, options.registry);
  command.run([&] { session.finish(run_convert(session, options).context("convert {}", options.source)); });
}

}  // namespace dadi
