// dadi build BASE --add WHAT --run CMD … DST
#include "libconvert/pipeline/build.h"

#include <algorithm>
#include <span>
#include <thread>

#include "apps/dadi/added_archives.h"
#include "apps/dadi/archive_limits.h"
#include "apps/dadi/attached.h"
#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/compression.h"
#include "apps/dadi/config_options.h"
#include "apps/dadi/conversion_cache.h"
#include "apps/dadi/image_so_far.h"
#include "apps/dadi/kept_command.h"
#include "apps/dadi/printable.h"
#include "apps/dadi/run_step.h"
#include "apps/dadi/sizes.h"
#include "libconvert/oci/converted.h"
#include "libconvert/pipeline/derived_image.h"
#include "libconvert/registry/image_store.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi {
namespace {

constexpr auto kAdd = "--add";
constexpr auto kRun = "--run";

struct BuildCommand {
  ImageOptions base;
  std::string destination;
  std::vector<std::pair<std::string, std::string>> steps;  // --add and --run, and what they are given
  AddOptions add;
  bool host_network = false;
  std::string dadid;
  ConfigWords config;
  std::string message;
  CompressionOptions compression;
  LimitOptions limits;
  std::string digest_file;
  unsigned jobs = std::max(1u, std::thread::hardware_concurrency());
  ConversionCacheOptions cache;
};

// Shows a build as one task an added layer, and one a layer of the base that is copied.
class BuildProgress final : public pipeline::ConvertObserver, public pipeline::CopyObserver {
 public:
  explicit BuildProgress(Session& session) : session_(session) {}

  void begin(const std::vector<pipeline::AddedArchive>& archives) {
    archives_ = &archives;
    tasks_.assign(archives.size(), nullptr);
  }

  void layer_started(std::size_t number, const oci::Descriptor& source) override {
    tasks_[number] = session_.progress().start((*archives_)[number].name, source.size);
  }
  void layer_read(std::size_t number, Bytes read) override { tasks_[number]->set_done(read); }
  void layer_finished(std::size_t number, const pipeline::ConvertedLayer& layer) override {
    tasks_[number]->finish();
    session_.detail(fmt::format("{}{} entries, {} segments, {} of blocks in {}", layer.cached ? "from the cache: " : "",
                                layer.entries, layer.segments, format_size(layer.data),
                                format_size(layer.result.size)));
  }
  void blob_started(const oci::Descriptor& blob) override {
    copied_ = session_.progress().start(blob.digest.brief(), blob.size);
  }
  void blob_read(Bytes done) override { copied_->set_done(done); }
  void blob_finished() override { copied_->finish(); }
  void note(const std::string& text) override { session_.note(text); }

 private:
  Session& session_;
  const std::vector<pipeline::AddedArchive>* archives_ = nullptr;
  std::vector<std::shared_ptr<Progress::Task>> tasks_;  // of the archives
  std::shared_ptr<Progress::Task> copied_;
};

// The base, with its layers opened, and nothing else read of them.
struct OpenedBase {
  std::optional<StoredImage> stored;
  std::vector<lsmt::LayerReader> layers;
  Bytes device;
  ImagePlace place;
};

Result<OpenedBase> open_base(Session& session, const BuildCommand& command) {
  ImageOptions options = command.base;
  options.lazy.cache_folder = command.cache.folder;
  options.lazy.uncached = command.cache.none;
  DADI_TRY(const oci::Reference reference, parse_image_reference(session, options.reference));
  DADI_TRY(const ImageReach reach, image_reach(session, options));
  const auto note = [&session](std::string_view text) { session.note(text); };
  DADI_TRY(FoundImage found, find_block_image(reference, options.platform, note, reach));
  DADI_TRY(BlockImage image, open_block_image(std::move(found), session.read_context()));
  if (!image.stored)
    return Error::unsupported("layers without a manifest and a config, which an image is made of")
        .with_hint("a base is an image in a store, as in oci:DIR:TAG");
  OpenedBase base{.stored = std::move(image.stored), .layers = {}, .device = {}, .place = {}};
  for (BlockLayer& layer : image.layers) base.layers.push_back(std::move(layer.reader));
  base.device = pipeline::device_size(base.layers);
  base.place = place_of(reference, base.stored->image.descriptor.digest, options.platform, reach);
  return base;
}

// What is in other repositories of the destination's registry need not be sent.
registry::Access writing_access(registry::Access access, const BuildCommand& command, const oci::Reference& to,
                                const OpenedConversionCache& cache) {
  const auto base = oci::parse_reference(command.base.reference);
  if (base && base->host == to.host && base->repository != to.repository) {
    access.mount_from = base->repository;
  } else if (cache.from && cache.from->host == to.host && cache.from->repository != to.repository) {
    access.mount_from = cache.from->repository;
  }
  return access;
}

// Archives that are added together, or a command.
struct Step {
  std::vector<pipeline::AddedArchive> archives;
  std::string command;  // empty: archives it is
};

Result<std::vector<Step>> open_steps(Session& session, const BuildCommand& command, Bytes most) {
  std::vector<std::string> words;
  for (const auto& [option, value] : command.steps)
    if (option == kAdd) words.push_back(value);
  DADI_TRY(std::vector<pipeline::AddedArchive> archives, open_added(session, words, command.add, most));
  std::vector<Step> steps;
  auto next = archives.begin();
  for (const auto& [option, value] : command.steps) {
    if (option == kRun) {
      steps.push_back({.archives = {}, .command = value});
      continue;
    }
    if (steps.empty() || !steps.back().command.empty()) steps.emplace_back();
    steps.back().archives.push_back(std::move(*next++));
  }
  return steps;
}

// Does the steps of a build, one on the other.
class Building {
 public:
  Building(Session& session, const BuildCommand& command, const pipeline::ConvertOptions& options,
           const OpenedBase& base, oci::ImageDestination& destination, pipeline::CompressionWorkers& workers,
           BuildProgress& progress)
      : session_(session),
        command_(command),
        options_(options),
        base_(base),
        destination_(destination),
        workers_(workers),
        progress_(progress),
        chain_(pipeline::chain_of(base.stored->image.manifest)) {}

  Result<void> run(const std::vector<Step>& steps) {
    if (std::ranges::any_of(steps, [](const Step& step) { return !step.command.empty(); })) {
      DADI_TRY(ImageSoFar begun, ImageSoFar::begin(base_.place, base_.layers));
      so_far_.emplace(std::move(begun));
    }
    for (const Step& step : steps) {
      if (so_far_) so_far_->watch(destination_);
      if (step.command.empty()) {
        DADI_CHECK(add(step.archives));
      } else {
        DADI_CHECK(run_command(step.command).context("{} {}", kRun, step.command));
      }
    }
    destination_.on_finished({});
    return {};
  }

  const std::vector<pipeline::AddedLayer>& layers() const { return layers_; }
  const Json& shown() const { return shown_; }

 private:
  Result<void> add(const std::vector<pipeline::AddedArchive>& archives) {
    progress_.begin(archives);
    const pipeline::BuildBase below{base_.stored->image.manifest, so_far_ ? so_far_->layers() : base_.layers, chain_};
    DADI_TRY(const auto layers, pipeline::add_layers(below, archives, destination_, options_, workers_, progress_));
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const pipeline::ConvertedLayer& layer = layers[i];
      shown_.push_back({{"diff_id", archives[i].diff_id.to_string()},
                        {"source_size", layer.source.size.value},
                        {"digest", layer.result.digest.to_string()},
                        {"size", layer.result.size.value},
                        {"entries", layer.entries},
                        {"segments", layer.segments},
                        {"data_size", layer.data.value},
                        {"cached", layer.cached}});
      DADI_CHECK(keep(layer.result, archives[i].created_by));
    }
    for (const pipeline::AddedArchive& added : archives) chain_ = pipeline::chain_of(chain_, added.diff_id);
    return {};
  }

  Result<void> run_command(const std::string& text) {
    const oci::SelectedImage& image = base_.stored->image;
    const RunStep step{
        .command = text, .host_network = command_.host_network, .dadid = command_.dadid, .message = command_.message};
    const auto family = oci::family_of(image.manifest.media_type);
    const auto note = [this](std::string_view said) { session_.note(said); };
    const std::size_t number = base_.layers.size() + layers_.size();
    const Digest key = key_of_command(chain_, step, image.config, base_.device, options_.compression);
    if (options_.cache != nullptr) {
      const lsmt::LayerInfo below{.virtual_size = base_.device, .uuid = so_far_->layers().back().info().uuid};
      DADI_TRY(const auto kept, reuse_command(*options_.cache, key, number, below, destination_, options_.stop, note));
      if (kept) {
        session_.note(fmt::format("{} {}: from the cache", kRun, text));
        return keep_run(text, oci::block_layer_descriptor(kept->blob.digest, kept->blob.size, family), kept->segments,
                        kept->data, /*cached=*/true);
      }
    }
    session_.note(fmt::format("{} {}", kRun, text));
    const layer_cache::HeldFiles held(options_.cache, destination_);
    DADI_TRY(const auto layer, run_step(session_, *so_far_, image.config, step, family, destination_, workers_));
    if (!layer) {
      session_.note("the command has changed nothing: no layer is added");
      return {};
    }
    if (options_.cache != nullptr) keep_command(*options_.cache, key, number, *layer, note);
    session_.detail(fmt::format("{} segments, {} of blocks in {}", layer->summary.records,
                                format_size(layer->summary.data), format_size(layer->descriptor.size)));
    return keep_run(text, layer->descriptor, layer->summary.records, layer->summary.data, /*cached=*/false);
  }

  Result<void> keep_run(const std::string& text, const oci::Descriptor& layer, std::uint64_t segments, Bytes data,
                        bool cached) {
    shown_.push_back({{"run", text},
                      {"digest", layer.digest.to_string()},
                      {"size", layer.size.value},
                      {"segments", segments},
                      {"data_size", data.value},
                      {"cached", cached}});
    chain_ = pipeline::chain_of(chain_, layer.digest);  // another run of the command is another layer
    return keep(layer, fmt::format("RUN /bin/sh -c {}", text));
  }

  Result<void> keep(const oci::Descriptor& layer, const std::string& created_by) {
    layers_.push_back({.descriptor = layer, .created_by = created_by, .comment = command_.message});
    if (!so_far_) return {};
    return so_far_->add(layer.digest, [&]() -> Result<SharedBlob> {
      if (options_.cache == nullptr) return Error::io("the layer that was just written is not there");
      return options_.cache->open_used(layer.digest);
    });
  }

  Session& session_;
  const BuildCommand& command_;
  pipeline::ConvertOptions options_;
  const OpenedBase& base_;
  oci::ImageDestination& destination_;
  pipeline::CompressionWorkers& workers_;
  BuildProgress& progress_;
  std::string chain_;                 // what stands for the image so far
  std::optional<ImageSoFar> so_far_;  // none: archives alone, which need no file of what is there
  std::vector<pipeline::AddedLayer> layers_;
  Json shown_ = Json::array();
};

void answer(Session& session, const std::string& destination, const OpenedBase& base, const Json& layers,
            const pipeline::DerivedImage& image) {
  const std::string digest = image.manifest.digest.to_string();
  if (!session.options.json) return session.out().print("{}\n", digest);
  session.answer({{"reference", destination},
                  {"digest", digest},
                  {"media_type", image.manifest.media_type},
                  {"platform", base.stored->image.platform.to_string()},
                  {"base", base.stored->image.descriptor.digest.to_string()},
                  {"layers", layers},
                  {"blobs_copied", image.copied.blobs_copied},
                  {"blobs_there", image.copied.blobs_there},
                  {"bytes_copied", image.copied.bytes_copied.value}});
}

// What is wrong with the words alone.
Result<void> check_words(const BuildCommand& command, const oci::ConfigChanges& config) {
  if (!is_utf8(command.message)) return Error::invalid_argument("a message that is no UTF-8");
  if (command.steps.empty() && config == oci::ConfigChanges{})
    return Error::invalid_argument("nothing is added, and nothing changed").with_hint("see dadi build --help");
  for (const auto& [option, value] : command.steps) {
    if (option != kRun) continue;
    if (value.empty()) return Error::invalid_argument("{}: a command is missing", kRun);
    if (!is_utf8(value)) return Error::invalid_argument("{} {}: not UTF-8", kRun, as_utf8(value));
    DADI_CHECK(require_root(fmt::format("{}, which attaches the image,", kRun)));
  }
  return {};
}

Result<void> run_build(Session& session, const BuildCommand& command) {
  DADI_TRY(const oci::ConfigChanges config, parse_config_changes(command.config));
  DADI_CHECK(check_words(command, config));
  pipeline::ConvertOptions options;
  options.jobs = command.jobs;
  options.stop = session.stop();
  DADI_TRY(options.compression, parse_compression(command.compression));
  DADI_TRY(const oci::Reference to, oci::parse_reference(command.destination));
  DADI_TRY(const OpenedBase base, open_base(session, command));
  DADI_TRY(options.limits, parse_limits(command.limits, base.device));
  DADI_TRY(const std::vector<Step> steps, open_steps(session, command, options.limits.size));
  const registry::Access access = registry_access(session, command.base.registry);
  DADI_TRY(const OpenedConversionCache cache, open_conversion_cache(session, command.cache, access));
  options.cache = cache.cache.get();
  const registry::Access writing = writing_access(access, command, to, cache);
  DADI_TRY(const auto destination, registry::open_destination(to, writing).context("{}", to.to_string()));
  DADI_TRY(const auto workers, pipeline::CompressionWorkers::create(options.compression, options.jobs));
  BuildProgress progress(session);
  Building building(session, command, options, base, *destination, *workers, progress);
  DADI_CHECK(building.run(steps));
  const pipeline::Derivation derivation{.layers_kept = {}, .added = building.layers(), .config = config};
  DADI_TRY(const pipeline::DerivedImage image,
           pipeline::derive_image(*base.stored->source, base.stored->image, *destination, derivation, progress,
                                  session.stop()));
  DADI_CHECK(destination->commit(image.manifest));
  if (!command.digest_file.empty()) {
    DADI_CHECK(replace_file(command.digest_file, as_bytes(image.manifest.digest.to_string() + "\n")));
  }
  answer(session, to.to_string(), base, building.shown(), image);
  finish_conversion_cache(session, cache, to, access);
  return {};
}

}  // namespace

void add_build(CommandLine& line, Session& session) {
  auto& options = session.keep<BuildCommand>();
  auto command =
      line.add("build", "Add archives, folders and what commands change to a converted image, each as one layer more",
               "dadi build oci:debian-dadi --add app.tar --entrypoint '[\"/app/run\"]' oci:app\n"
               "dadi build oci:debian-dadi --add site:/srv/www --env MODE=fast --user 1000:1000 oci:app\n"
               "dadi build oci:debian-dadi --add - --label by=hand -m 'A first try' oci:app < app.tar\n"
               "sudo dadi build oci:debian-dadi --add site:/srv --run 'ls /srv > /srv/index' oci:indexed");
  command.argument("BASE", options.base.reference, "Converted image, as in oci:DIR:TAG or docker://HOST/REPO:TAG")
      .argument("DST", options.destination, "Where the result goes, as in oci:DIR:TAG or docker://HOST/REPO:TAG");
  command.ordered_options(kAdd, options.steps, "WHAT",
                          "A layer more: a tar archive, - for one from standard input, or a folder as DIR[:PATH]");
  add_add_options(command, options.add);
  command
      .ordered_options(kRun, options.steps, "CMD",
                       "A layer of what /bin/sh -c CMD changes, run in the image so far, as root")
      .flag("--host-network", options.host_network, "Commands have the host's network, and not none")
      .option("--dadid", options.dadid, "FILE", "The program that serves the device to commands");
  add_config_options(command, options.config);
  command.option("-m,--message", options.message, "TEXT", "A comment on the added layers, in the image's history")
      .option("--platform", options.base.platform, "OS/ARCH", "Which of an index's images, as in linux/arm64");
  add_compression_options(command, options.compression);
  add_limit_options(command, options.limits);
  command.option("--digestfile", options.digest_file, "FILE", "Also write the result's digest to a file")
      .option("-j,--jobs", options.jobs, "N", "Threads that compress; changes no byte of the result")
      .at_least(1);
  add_conversion_cache_options(command, options.cache);
  add_registry_options(command, options.base.registry);
  command
      .option("--read-time", options.base.lazy.read_time, "SECONDS",
              "How long a read of BASE that fails is tried again")
      .at_least(1);
  command.run([&] { session.finish(run_build(session, options).context("build {}", options.base.reference)); });
}

}  // namespace dadi
