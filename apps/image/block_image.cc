#include "apps/image/block_image.h"

#include "apps/image/runtime_config.h"
#include "libconvert/oci/converted.h"
#include "libconvert/registry/image_store.h"
#include "libformat/blob/file_blob.h"
#include "libformat/lsmt/writable_layer.h"

namespace dadi {
namespace {

// The layers of an image in a store; through `lazy`, if it is on a registry.
Result<std::vector<FoundLayer>> layers_of(const StoredImage& stored, LazyBlobs* lazy, const std::stop_token& stop) {
  const oci::Manifest& manifest = stored.image.manifest;
  if (!oci::is_converted(manifest)) return not_converted();
  std::vector<FoundLayer> layers;
  for (std::size_t i = 0; i < manifest.layers.size(); ++i) {
    const oci::Descriptor& descriptor = manifest.layers[i];
    if (oci::form_of(descriptor) == oci::LayerForm::kAcceleration) continue;
    FoundLayer layer;
    layer.name = fmt::format("layer {} ({})", i + 1, descriptor.digest.brief());
    DADI_TRY(layer.blob, stored.source->open_blob(descriptor).context("{}", layer.name));
    if (lazy != nullptr) layer.blob = lazy->add(std::move(layer.blob), descriptor, {.stop = stop});
    layer.descriptor = descriptor;
    layer.expected = BlobIdentity{descriptor.digest, descriptor.size};
    layers.push_back(std::move(layer));
  }
  if (layers.empty()) return Error::unsupported("an image without block layers");
  return layers;
}

Result<FoundLayer> layer_at(const std::filesystem::path& path) {
  FoundLayer layer;
  layer.name = path.string();
  DADI_TRY(layer.blob, FileBlob::open(path));
  return layer;
}

Result<std::vector<FoundLayer>> layers_of(const oci::Reference& reference) {
  std::vector<FoundLayer> layers;
  for (const auto& path : reference.files) {
    DADI_TRY(FoundLayer layer, layer_at(path));
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<FoundLayer> open_upper(const RuntimeConfig::Upper& upper) {
  FoundLayer layer;
  layer.name = upper.data.string();
  DADI_TRY(layer.writable, read_writable_layer(upper.data, upper.index).context("upper {}", layer.name));
  layer.blob = layer.writable->blob();
  return layer;
}

Result<std::vector<FoundLayer>> layers_of(const RuntimeConfig& config) {
  std::vector<FoundLayer> layers;
  for (const RuntimeConfig::Lower& lower : config.lowers) {
    DADI_TRY(FoundLayer layer, layer_at(lower.file));
    layer.expected = lower.expected;
    layers.push_back(std::move(layer));
  }
  if (config.upper) {
    DADI_TRY(FoundLayer layer, open_upper(*config.upper));
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<BlockLayer> open_layer(FoundLayer found, const ReadContext& context) {
  if (found.writable) {
    return BlockLayer{.name = std::move(found.name),
                      .blob = std::move(found.blob),
                      .reader = std::move(*found.writable),
                      .envelope = {},
                      .unwrapped = nullptr,
                      .zfile = {},
                      .descriptor = {},
                      .expected = {}};
  }
  DADI_TRY(LayerFile file, open_layer_file(found.blob, context).context("{}", found.name));
  return BlockLayer{.name = std::move(found.name),
                    .blob = std::move(found.blob),
                    .reader = std::move(file.layer),
                    .envelope = file.envelope,
                    .unwrapped = std::move(file.unwrapped),
                    .zfile = file.zfile,
                    .descriptor = std::move(found.descriptor),
                    .expected = found.expected};
}

}  // namespace

Error not_converted() {
  return Error::unsupported("an ordinary image, whose layers are archives and not block layers")
      .with_hint("convert it first: dadi convert SRC DST");
}

Result<StoredImage> open_stored_image(const oci::Reference& reference, const std::string& platform, const Notes& notes,
                                      const registry::Access& access) {
  oci::SelectOptions wanted{.platform = {}, .all = false, .for_conversion = false};
  if (!platform.empty()) {
    DADI_TRY(wanted.platform, oci::parse_platform(platform));
  }
  DADI_TRY(auto source, registry::open_source(reference, access));
  DADI_TRY(oci::Selection selection, oci::select(*source, wanted));
  for (const std::string& text : selection.notes) notes(text);
  return StoredImage{std::move(source), std::move(selection.images.front())};
}

Result<StoredImage> open_converted_image(const oci::Reference& reference, const std::string& platform,
                                         const Notes& notes, const registry::Access& access) {
  DADI_TRY(StoredImage stored, open_stored_image(reference, platform, notes, access));
  if (oci::is_converted(stored.image.manifest)) return stored;
  const Digest source = stored.image.descriptor.digest;
  DADI_TRY(const auto referrers, stored.source->referrers(source, oci::kNativeArtifactType));
  if (referrers.empty()) return not_converted();
  oci::Reference pinned = reference;
  pinned.tag.clear();
  pinned.digest = referrers.back().digest;  // registries list the latest last, if they list in any order
  const std::string name = pinned.to_string();
  notes(fmt::format("{} is an ordinary image; its converted form {} is taken{}", reference.to_string(),
                    pinned.digest->to_string(),
                    referrers.size() > 1 ? fmt::format(", of {} that there are", referrers.size()) : ""));
  DADI_TRY(StoredImage converted, open_stored_image(pinned, platform, notes, access));
  const oci::Manifest& manifest = converted.image.manifest;
  if (!oci::is_converted(manifest) || !manifest.subject || manifest.subject->digest != source)
    return Error::corruption("{} is listed as a converted form of {}, and is none", name, source.to_string());
  return converted;
}

Result<FoundImage> find_block_image(const oci::Reference& reference, const std::string& platform, const Notes& notes,
                                    const ImageReach& reach) {
  FoundImage image{.reference = reference.to_string(), .stored = {}, .layers = {}, .lazy = {}};
  if (reference.kind == oci::Reference::Kind::kLayers) {
    DADI_TRY(image.layers, layers_of(reference));
  } else if (reference.kind == oci::Reference::Kind::kConfig) {
    DADI_TRY(const RuntimeConfig config, RuntimeConfig::load(reference.path()));
    DADI_TRY(image.layers, layers_of(config));
  } else {
    registry::Access access = reach.registry;
    if (!access.traffic) access.traffic = std::make_shared<registry::Traffic>();
    if (reference.kind == oci::Reference::Kind::kRegistry) {
      image.lazy = std::make_shared<LazyBlobs>(reach.lazy, access.traffic);
      if (const auto usable = image.lazy->usable(); !usable)
        notes(fmt::format("nothing is cached: {}", usable.error().message()));
    }
    DADI_TRY(image.stored, open_converted_image(reference, platform, notes, access));
    DADI_TRY(image.layers, layers_of(*image.stored, image.lazy.get(), access.stop));
  }
  for (const std::string& file : reach.on_top) {
    DADI_TRY(FoundLayer layer, layer_at(file));
    image.layers.push_back(std::move(layer));
  }
  return image;
}

Result<lsmt::LayerReader> read_writable_layer(const std::filesystem::path& data, const std::filesystem::path& index) {
  DADI_TRY(auto file, FileBlob::open(data));
  DADI_TRY(const auto raw, read_range(*file, {0}, {lsmt::kHeaderSize}));
  DADI_TRY(const lsmt::Header header, lsmt::decode_header(raw));
  if (header.flags == lsmt::kSparseHeader) {
    const auto discards = FileBlob::open(data.parent_path() / lsmt::kDiscardsName);
    return lsmt::LayerReader::open_sparse(std::move(file), discards ? SharedBlob(*discards) : nullptr);
  }
  DADI_TRY(const SharedBlob log, FileBlob::open(index));
  const auto flushes = FileBlob::open(data.parent_path() / lsmt::kFlushesName);
  if (!flushes && flushes.error().code() != ErrorCode::kNotFound) return flushes.error();
  return lsmt::LayerReader::open_append_only(std::move(file), log, flushes ? SharedBlob(*flushes) : nullptr);
}

Result<BlockImage> open_block_image(FoundImage found, const ReadContext& context) {
  BlockImage image{.reference = std::move(found.reference),
                   .stored = std::move(found.stored),
                   .layers = {},
                   .lazy = std::move(found.lazy)};
  for (FoundLayer& layer : found.layers) {
    DADI_TRY(BlockLayer opened, open_layer(std::move(layer), context));
    image.layers.push_back(std::move(opened));
  }
  if (image.lazy) image.lazy->opened();
  return image;
}

Result<std::shared_ptr<const lsmt::StackReader>> stack(std::vector<BlockLayer> layers) {
  std::vector<lsmt::LayerReader> readers;
  readers.reserve(layers.size());
  for (BlockLayer& layer : layers) readers.push_back(std::move(layer.reader));
  DADI_TRY(auto device, lsmt::StackReader::open(std::move(readers)));
  return std::shared_ptr<const lsmt::StackReader>(std::move(device));
}

}  // namespace dadi
