// dadi verify SRC DST
#include "apps/dadi/archive_limits.h"
#include "apps/dadi/block_image.h"
#include "apps/dadi/commands.h"
#include "apps/dadi/printable.h"
#include "libconvert/pipeline/layer_stream.h"
#include "libfs/ext4/volume.h"
#include "libfs/layer_archive.h"
#include "libfs/model/compare.h"
#include "libfs/model/tree_model.h"

namespace dadi {
namespace {

struct VerifyOptions {
  std::string source;
  ImageOptions converted;
  LimitOptions limits;
};

// Applies one layer of the source to the model, its digest and diff id verified on the way.
Result<void> apply_layer(Session& session, const StoredImage& source, std::size_t number, fs::ArchiveBudget& budget,
                         fs::TreeModel& model) {
  const oci::Descriptor& layer = source.image.manifest.layers[number];
  const auto task = session.progress().start(
      fmt::format("source layer {}/{}", number + 1, source.image.manifest.layers.size()), layer.size);
  const auto show = [&task](Bytes read) { task->set_done(read); };
  const auto stream =
      pipeline::open_layer_stream(pipeline::opener(*source.source, layer), source.image.config.diff_ids()[number],
                                  {.stop = session.stop(), .progress = show});
  DADI_TRY(const auto archive, fs::LayerArchive::open(*stream, &budget));
  DADI_CHECK(model.apply(*archive));
  task->finish();
  return {};
}

Result<void> apply_layers(Session& session, const StoredImage& source, fs::ArchiveLimits limits, fs::TreeModel& model) {
  fs::ArchiveBudget budget(limits);
  const auto& layers = source.image.manifest.layers;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    DADI_CHECK(
        apply_layer(session, source, i, budget, model).context("layer {} ({})", i + 1, layers[i].digest.brief()));
  }
  return {};
}

Result<std::optional<std::string>> compare(Session& session, const VerifyOptions& options) {
  DADI_TRY(const oci::Reference reference, parse_image_reference(session, options.source));
  if (reference.kind == oci::Reference::Kind::kLayers || reference.kind == oci::Reference::Kind::kConfig) {
    return Error::invalid_argument("{} is no image with layers that are archives", options.source);
  }
  DADI_TRY(const StoredImage source, open_stored_image(session, reference, options.converted));
  DADI_TRY(const auto device, open_device(session, options.converted).context("{}", options.converted.reference));
  DADI_TRY(const auto volume, fs::Volume::open(device).context("{}", options.converted.reference));
  fs::TreeModel model;
  DADI_TRY(const fs::ArchiveLimits limits, parse_limits(options.limits, to_bytes(device->size())));
  DADI_CHECK(apply_layers(session, source, limits, model));
  const auto task = session.progress().start("compare", {});
  const auto show = [&task](Bytes read) { task->set_done(read); };
  DADI_TRY(auto difference, fs::first_difference(model, *volume, show).context("{}", options.converted.reference));
  task->finish();
  return difference;
}

Result<void> verify(Session& session, const VerifyOptions& options) {
  DADI_TRY(const auto difference, compare(session, options));
  if (session.options.json) {
    Json object = {{"source", as_utf8(options.source)},
                   {"reference", as_utf8(options.converted.reference)},
                   {"equal", !difference.has_value()}};
    if (difference) object["difference"] = as_utf8(*difference);
    session.answer(object);
  }
  if (difference) return Error::corruption("{} differs: {}", options.converted.reference, *difference);
  if (!session.options.json) session.out().print("OK: the same tree\n");
  return {};
}

}  // namespace

void add_verify(CommandLine& line, Session& session) {
  auto& options = session.keep<VerifyOptions>();
  auto command = line.add("verify", "That a converted image holds the same tree as its source, entry by entry",
                          "dadi verify oci:debian oci:debian-dadi");
  command.argument("SRC", options.source, "The image that was converted")
      .argument("DST", options.converted.reference, "What it was converted to")
      .option("--platform", options.converted.platform, "OS/ARCH", "Which of an index's images, as in linux/arm64");
  add_limit_options(command, options.limits);
  add_registry_options(command, options.converted.registry);
  add_lazy_options(command, options.converted.lazy);
  command.run([&] { session.finish(verify(session, options).context("verify {}", options.source)); });
}

}  // namespace dadi
