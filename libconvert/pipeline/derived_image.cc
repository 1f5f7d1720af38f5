#include "libconvert/pipeline/derived_image.h"

#include <algorithm>
#include <functional>

#include "libconvert/oci/converted.h"
#include "libformat/lsmt/merged_index.h"

namespace dadi::pipeline {

namespace {

bool is_trace(const oci::Descriptor& layer) {
  return oci::form_of(layer) == oci::LayerForm::kAcceleration;
}

std::vector<oci::LayerOrigin> origins_of(const std::vector<AddedLayer>& layers) {
  std::vector<oci::LayerOrigin> origins;
  for (const AddedLayer& layer : layers) origins.push_back({layer.descriptor.digest, layer.created_by, layer.comment});
  return origins;
}

// The layers of the base that stay, as a number from the bottom, since a trace lies on top.
Result<std::size_t> layers_kept(const std::vector<oci::Descriptor>& layers, const Derivation& derivation,
                                CopyObserver& observer) {
  const bool has_trace = is_trace(layers.back());
  const std::size_t blocks = layers.size() - (has_trace ? 1 : 0);
  if (derivation.layers_kept && *derivation.layers_kept > blocks)
    return Error::invalid_argument("{} layers of an image that has {}", *derivation.layers_kept, blocks);
  const std::size_t kept = derivation.layers_kept.value_or(blocks);
  if (kept == blocks && derivation.added.empty()) return layers.size();
  const bool has_new_trace = !derivation.added.empty() && is_trace(derivation.added.back().descriptor);
  if (has_trace && !has_new_trace)
    observer.note(
        fmt::format("the image's trace ({}) is left out: it is of other layers", layers.back().digest.brief()));
  return kept;
}

// A manifest that refers to an ordinary image is found as its converted form, and must hold what that holds.
bool holds_the_same(const Derivation& derivation) {
  return !derivation.layers_kept && derivation.config == oci::ConfigChanges{} &&
         std::ranges::all_of(derivation.added, [](const AddedLayer& layer) { return is_trace(layer.descriptor); });
}

Result<oci::Descriptor> put_image(oci::ImageDestination& destination, oci::Manifest manifest,
                                  const oci::ImageConfig& config) {
  DADI_TRY(const oci::Descriptor written,
           oci::put_document(destination, config.json(), manifest.config.media_type).context("config"));
  manifest.config.digest = written.digest;
  manifest.config.size = written.size;
  return oci::put_document(destination, manifest.to_json(), manifest.media_type).context("manifest");
}

}  // namespace

Result<DerivedImage> derive_image(const oci::ImageSource& source, const oci::SelectedImage& base,
                                  oci::ImageDestination& destination, const Derivation& derivation,
                                  CopyObserver& observer, const std::stop_token& stop) {
  if (!oci::is_converted(base.manifest))
    return Error::unsupported("an ordinary image, whose layers are archives and not block layers")
        .with_hint("convert it first: dadi convert SRC DST");
  oci::Manifest manifest = base.manifest;
  const std::string file_system = manifest.layers.front().annotation(oci::kBlobFsType);
  DADI_TRY(const std::size_t kept, layers_kept(manifest.layers, derivation, observer));
  manifest.layers.erase(manifest.layers.begin() + static_cast<std::ptrdiff_t>(kept), manifest.layers.end());
  BlobCopies copies(source, destination, observer, stop);
  for (std::size_t i = 0; i < kept; ++i) {
    const oci::Descriptor& layer = manifest.layers[i];
    DADI_CHECK(copies.copy(layer).context("layer {} ({})", i + 1, layer.digest.brief()));
  }
  for (const AddedLayer& layer : derivation.added) {
    manifest.layers.push_back(layer.descriptor);
    if (!file_system.empty()) manifest.layers.back().annotations.emplace(oci::kBlobFsType, file_system);
  }
  const auto blocks = static_cast<std::size_t>(std::ranges::count_if(manifest.layers, std::not_fn(is_trace)));
  if (blocks > lsmt::kMaxLayers)
    return Error::exhausted("an image of {} layers: a device has room for {}", blocks, lsmt::kMaxLayers)
        .with_hint("make one layer of the base's first: dadi flatten SRC DST");
  if (!holds_the_same(derivation)) {
    manifest.subject.reset();
    manifest.artifact_type.clear();
  }
  DADI_TRY(
      const oci::ImageConfig config,
      base.config.with_lowest_layers(kept).with_layers(origins_of(derivation.added)).with_changes(derivation.config));
  DADI_TRY(oci::Descriptor written, put_image(destination, std::move(manifest), config));
  return DerivedImage{std::move(written), copies.counts()};
}

Result<oci::Descriptor> put_new_image(oci::ImageDestination& destination, const oci::ImageConfig& config,
                                      const std::vector<AddedLayer>& layers) {
  oci::Manifest manifest{.media_type = std::string(oci::kOciManifest),
                         .artifact_type = {},
                         .config = {.media_type = std::string(oci::kOciConfig), .digest = Digest::of({}), .size = {}},
                         .layers = {},
                         .subject = {},
                         .annotations = {}};
  for (const AddedLayer& layer : layers) manifest.layers.push_back(layer.descriptor);
  return put_image(destination, std::move(manifest), config.with_layers(origins_of(layers)));
}

}  // namespace dadi::pipeline
