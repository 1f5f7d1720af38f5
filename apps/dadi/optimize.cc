// dadi optimize REF TRACE DST
#include "libconvert/pipeline/optimize.h"

#include <algorithm>
#include <filesystem>
#include <thread>

#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/compression.h"
#include "apps/dadi/optimize_progress.h"
#include "apps/dadi/trace_file.h"
#include "libconvert/registry/image_store.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi {
namespace {

struct OptimizeCommand {
  std::string source;
  std::string trace;
  std::string destination;
  std::string platform;
  CompressionOptions compression{.compression = "", .block_size = ""};
  std::string shared_with;
  std::string digest_file;
  unsigned jobs = std::max(1u, std::thread::hardware_concurrency());
  RegistryOptions registry;
};

Result<pipeline::OptimizeOptions> parse_options(Session& session, const OptimizeCommand& command) {
  pipeline::OptimizeOptions options;
  const CompressionOptions defaults;
  const CompressionOptions& given = command.compression;
  DADI_TRY(const zfile::Options compression,
           parse_compression({given.compression.empty() ? defaults.compression : given.compression,
                              given.block_size.empty() ? defaults.block_size : given.block_size}));
  if (!given.compression.empty()) options.algorithm = compression.algorithm;
  if (!given.block_size.empty()) options.block_size = compression.block_size;
  options.level = compression.level;
  if (!command.platform.empty()) {
    DADI_TRY(options.platform, oci::parse_platform(command.platform));
  }
  options.jobs = command.jobs;
  options.stop = session.stop();
  return options;
}

ImageOptions image_options(const OptimizeCommand& command, const std::string& reference) {
  return {.reference = reference, .platform = command.platform, .registry = command.registry, .lazy = {}};
}

// The blobs of an image's layers.
Result<std::set<Digest>> layers_of(Session& session, const OptimizeCommand& command) {
  std::set<Digest> layers;
  DADI_TRY(const oci::Reference reference, parse_image_reference(session, command.shared_with));
  DADI_TRY(const StoredImage image, open_stored_image(session, reference, image_options(command, command.shared_with)));
  for (const oci::Descriptor& layer : image.image.manifest.layers) layers.insert(layer.digest);
  return layers;
}

void answer(Session& session, const std::string& destination, const pipeline::OptimizeResult& result) {
  note_left_out(session, result.left_out);
  if (!session.options.json) return session.out().print("{}\n", result.root.digest.to_string());
  Json layers = Json::array();
  for (const pipeline::OptimizedLayer& layer : result.layers)
    layers.push_back({{"source", layer.source.digest.to_string()},
                      {"source_size", layer.source.size.value},
                      {"digest", layer.result.digest.to_string()},
                      {"size", layer.result.size.value},
                      {"recorded_bytes", layer.recorded.value}});
  session.answer({{"reference", destination},
                  {"digest", result.root.digest.to_string()},
                  {"media_type", result.root.media_type},
                  {"reads", result.reads},
                  {"recorded_bytes", result.recorded.value},
                  {"left_out_bytes", result.left_out.value},
                  {"layers", std::move(layers)}});
}

Result<void> optimize(Session& session, const OptimizeCommand& command) {
  DADI_TRY(pipeline::OptimizeOptions options, parse_options(session, command));
  DADI_TRY(const oci::Reference from, parse_image_reference(session, command.source));
  DADI_TRY(const oci::Reference to, oci::parse_reference(command.destination));
  DADI_TRY(const TraceFile file, TraceFile::load(command.trace, session.read_context()));
  DADI_TRY(const auto trace, file.reads_of(session, image_options(command, command.source)));
  if (!command.shared_with.empty()) {
    DADI_TRY(options.kept, layers_of(session, command).context("--keep-shared-with {}", command.shared_with));
  }
  registry::Access access = registry_access(session, command.registry);
  DADI_TRY(const auto source, registry::open_source(from, access));
  if (from.kind == oci::Reference::Kind::kRegistry) {
    std::error_code failed;
    options.staging = std::filesystem::temp_directory_path(failed);
    if (failed) return Error::from_errno(failed.value(), "the system's temporary folder");
    if (from.host == to.host && from.repository != to.repository) access.mount_from = from.repository;
  }
  DADI_TRY(const auto destination, registry::open_destination(to, access).context("{}", to.to_string()));
  OptimizeProgress observer(session);
  DADI_TRY(const auto result, pipeline::optimize(*source, *destination, trace, options, observer));
  if (!command.digest_file.empty()) {
    DADI_CHECK(replace_file(command.digest_file, as_bytes(result.root.digest.to_string() + "\n")));
  }
  answer(session, to.to_string(), result);
  return {};
}

}  // namespace

void add_optimize(CommandLine& line, Session& session) {
  auto& options = session.keep<OptimizeCommand>();
  auto command =
      line.add("optimize", "Lay a converted image out by a trace: what a start reads lies first, in order",
               "dadi optimize oci:debian-dadi app.trace oci:debian-optimized\n"
               "dadi optimize oci:debian-dadi files.txt oci:debian-optimized\n"
               "dadi optimize --keep-shared-with oci:debian-dadi oci:debian-dadi app.trace oci:debian-shared\n"
               "dadi optimize docker://localhost:5000/debian:dadi app.trace "
               "docker://localhost:5000/debian:optimized");
  command.argument("SRC", options.source, "Converted image, as in docker://HOST/REPO:TAG or oci:DIR:TAG")
      .argument("TRACE", options.trace, "File: a trace of it, or a list of files in it")
      .argument("DST", options.destination, "Where the result goes, with the trace on top")
      .option("--platform", options.platform, "OS/ARCH",
              "Which image of an index, as in linux/arm64; default: this machine's")
      .option("--keep-shared-with", options.shared_with, "REF",
              "Layers that this image has too, or a base image, keep their bytes");
  command
      .option("--compression", options.compression.compression, "NAME",
              "lz4, zstd or zstd:LEVEL (1 to 19); default: as each layer was")
      .option("--block-size", options.compression.block_size, "SIZE", "4K to 32K; default: as each layer was")
      .option("--digestfile", options.digest_file, "FILE", "Also write the result's digest to a file")
      .option("-j,--jobs", options.jobs, "N", "Threads that compress; changes no byte of the result")
      .at_least(1);
  add_registry_options(command, options.registry);
  command.run([&] { session.finish(optimize(session, options).context("optimize {}", options.source)); });
}

}  // namespace dadi
