// dadi build BASE --add WHAT … DST
#include "libconvert/pipeline/build.h"

#include <algorithm>
#include <thread>

#include "apps/dadi/added_archives.h"
#include "apps/dadi/archive_limits.h"
#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/compression.h"
#include "apps/dadi/config_options.h"
#include "apps/dadi/conversion_cache.h"
#include "apps/dadi/printable.h"
#include "apps/dadi/sizes.h"
#include "libconvert/registry/image_store.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi {
namespace {

struct BuildCommand {
  ImageOptions base;
  std::string destination;
  AddOptions add;
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
  BuildProgress(Session& session, const std::vector<pipeline::AddedArchive>& archives)
      : session_(session), archives_(archives), tasks_(archives.size()) {}

  void layer_started(std::size_t number, const oci::Descriptor& source) override {
    tasks_[number] = session_.progress().start(archives_[number].name, source.size);
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
  const std::vector<pipeline::AddedArchive>& archives_;
  std::vector<std::shared_ptr<Progress::Task>> tasks_;  // of the archives
  std::shared_ptr<Progress::Task> copied_;
};

// The base, with its layers opened, and nothing else read of them.
struct OpenedBase {
  std::optional<StoredImage> stored;
  std::vector<lsmt::LayerReader> layers;
  Bytes device;
};

Result<OpenedBase> open_base(Session& session, const BuildCommand& command) {
  ImageOptions options = command.base;
  options.lazy.cache_folder = command.cache.folder;
  options.lazy.uncached = command.cache.none;
  DADI_TRY(BlockImage image, open_block_image(session, options));
  if (!image.stored)
    return Error::unsupported("layers without a manifest and a config, which an image is made of")
        .with_hint("a base is an image in a store, as in oci:DIR:TAG");
  OpenedBase base{.stored = std::move(image.stored), .layers = {}, .device = {}};
  for (BlockLayer& layer : image.layers) base.layers.push_back(std::move(layer.reader));
  base.device = pipeline::device_size(base.layers);
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

void answer(Session& session, const std::string& destination, const OpenedBase& base,
            const std::vector<pipeline::AddedArchive>& archives, const pipeline::BuildResult& result) {
  const std::string digest = result.manifest.digest.to_string();
  if (!session.options.json) return session.out().print("{}\n", digest);
  Json layers = Json::array();
  for (std::size_t i = 0; i < result.layers.size(); ++i) {
    const pipeline::ConvertedLayer& layer = result.layers[i];
    layers.push_back({{"diff_id", archives[i].diff_id.to_string()},
                      {"source_size", layer.source.size.value},
                      {"digest", layer.result.digest.to_string()},
                      {"size", layer.result.size.value},
                      {"entries", layer.entries},
                      {"segments", layer.segments},
                      {"data_size", layer.data.value},
                      {"cached", layer.cached}});
  }
  session.answer({{"reference", destination},
                  {"digest", digest},
                  {"media_type", result.manifest.media_type},
                  {"platform", base.stored->image.platform.to_string()},
                  {"base", base.stored->image.descriptor.digest.to_string()},
                  {"layers", std::move(layers)},
                  {"blobs_copied", result.copied.blobs_copied},
                  {"blobs_there", result.copied.blobs_there},
                  {"bytes_copied", result.copied.bytes_copied.value}});
}

Result<void> run_build(Session& session, const BuildCommand& command) {
  pipeline::Build wanted{.archives = {}, .comment = command.message, .config = {}};
  DADI_TRY(wanted.config, parse_config_changes(command.config));
  if (!is_utf8(command.message)) return Error::invalid_argument("a message that is no UTF-8");
  if (command.add.added.empty() && wanted.config == oci::ConfigChanges{})
    return Error::invalid_argument("nothing is added, and nothing changed").with_hint("see dadi build --help");
  pipeline::ConvertOptions options;
  options.jobs = command.jobs;
  options.stop = session.stop();
  DADI_TRY(options.compression, parse_compression(command.compression));
  DADI_TRY(const oci::Reference to, oci::parse_reference(command.destination));
  DADI_TRY(const OpenedBase base, open_base(session, command));
  DADI_TRY(options.limits, parse_limits(command.limits, base.device));
  DADI_TRY(wanted.archives, open_added(session, command.add, options.limits.size));
  const registry::Access access = registry_access(session, command.base.registry);
  DADI_TRY(const OpenedConversionCache cache, open_conversion_cache(session, command.cache, access));
  options.cache = cache.cache.get();
  const registry::Access writing = writing_access(access, command, to, cache);
  DADI_TRY(const auto destination, registry::open_destination(to, writing).context("{}", to.to_string()));
  BuildProgress observer(session, wanted.archives);
  DADI_TRY(const pipeline::BuildResult result, pipeline::build({*base.stored->source, base.stored->image, base.layers},
                                                               wanted, *destination, options, observer, observer));
  if (!command.digest_file.empty()) {
    DADI_CHECK(replace_file(command.digest_file, as_bytes(result.manifest.digest.to_string() + "\n")));
  }
  answer(session, to.to_string(), base, wanted.archives, result);
  finish_conversion_cache(session, cache, to, access);
  return {};
}

}  // namespace

void add_build(CommandLine& line, Session& session) {
  auto& options = session.keep<BuildCommand>();
  auto command = line.add("build", "Add archives and folders to a converted image, each as one layer more",
                          "dadi build oci:debian-dadi --add app.tar --entrypoint '[\"/app/run\"]' oci:app\n"
                          "dadi build oci:debian-dadi --add site:/srv/www --env MODE=fast --user 1000:1000 oci:app\n"
                          "dadi build oci:debian-dadi --add - --label by=hand -m 'A first try' oci:app < app.tar");
  command.argument("BASE", options.base.reference, "Converted image, as in oci:DIR:TAG or docker://HOST/REPO:TAG")
      .argument("DST", options.destination, "Where the result goes, as in oci:DIR:TAG or docker://HOST/REPO:TAG");
  add_add_options(command, options.add);
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
