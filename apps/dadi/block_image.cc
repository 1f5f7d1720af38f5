#include "apps/dadi/block_image.h"

#include "apps/dadi/runtime_config.h"
#include "libconvert/oci/converted.h"
#include "libformat/blob/file_blob.h"

namespace dadi {
namespace {

Result<BlockLayer> open_layer(std::string name, SharedBlob blob, const ReadContext& context) {
  DADI_TRY(LayerFile file, open_layer_file(blob, context).context("{}", name));
  return BlockLayer{.name = std::move(name),
                    .blob = std::move(blob),
                    .reader = std::move(file.layer),
                    .envelope = file.envelope,
                    .unwrapped = std::move(file.unwrapped),
                    .zfile = file.zfile,
                    .descriptor = {},
                    .expected = {}};
}

Result<BlockLayer> open_layer_at(const std::filesystem::path& path, const ReadContext& context) {
  DADI_TRY(SharedBlob blob, FileBlob::open(path));
  return open_layer(path.string(), std::move(blob), context);
}

Result<std::vector<BlockLayer>> open_layers_of(const StoredImage& stored, const ReadContext& context) {
  const oci::Manifest& manifest = stored.image.manifest;
  if (!oci::is_converted(manifest)) {
    return Error::unsupported("an ordinary image, whose layers are archives and not block layers")
        .with_hint("convert it first: dadi convert SRC DST");
  }
  std::vector<BlockLayer> layers;
  for (std::size_t i = 0; i < manifest.layers.size(); ++i) {
    const oci::Descriptor& descriptor = manifest.layers[i];
    if (oci::form_of(descriptor) == oci::LayerForm::kAcceleration) continue;
    std::string name = fmt::format("layer {} ({})", i + 1, descriptor.digest.brief());
    DADI_TRY(SharedBlob blob, stored.source->open_blob(descriptor).context("{}", name));
    DADI_TRY(BlockLayer layer, open_layer(std::move(name), std::move(blob), context));
    layer.descriptor = descriptor;
    layer.expected = BlobIdentity{descriptor.digest, descriptor.size};
    layers.push_back(std::move(layer));
  }
  if (layers.empty()) return Error::unsupported("an image without block layers");
  return layers;
}

Result<std::vector<BlockLayer>> open_layers_of(const oci::Reference& reference, const ReadContext& context) {
  std::vector<BlockLayer> layers;
  for (const auto& path : reference.files) {
    DADI_TRY(BlockLayer layer, open_layer_at(path, context));
    layers.push_back(std::move(layer));
  }
  return layers;
}

Result<BlockLayer> open_upper(const RuntimeConfig::Upper& upper) {
  const std::string name = upper.data.string();
  DADI_TRY(auto data, FileBlob::open(upper.data));
  const auto open = [&]() -> Result<lsmt::LayerReader> {
    DADI_TRY(const auto raw, read_range(*data, {0}, {lsmt::kHeaderSize}));
    DADI_TRY(const lsmt::Header header, lsmt::decode_header(raw));
    if (header.flags == lsmt::kSparseHeader) return lsmt::LayerReader::open_sparse(data);
    DADI_TRY(const SharedBlob index, FileBlob::open(upper.index));
    return lsmt::LayerReader::open_append_only(data, index);
  };
  DADI_TRY(lsmt::LayerReader reader, open().context("upper {}", name));
  return BlockLayer{.name = name,
                    .blob = data,
                    .reader = std::move(reader),
                    .envelope = {},
                    .unwrapped = nullptr,
                    .zfile = {},
                    .descriptor = {},
                    .expected = {}};
}

Result<std::vector<BlockLayer>> open_layers_of(const RuntimeConfig& config, const ReadContext& context) {
  std::vector<BlockLayer> layers;
  for (const RuntimeConfig::Lower& lower : config.lowers) {
    DADI_TRY(BlockLayer layer, open_layer_at(lower.file, context));
    layer.expected = lower.expected;
    layers.push_back(std::move(layer));
  }
  if (config.upper) {
    DADI_TRY(BlockLayer layer, open_upper(*config.upper));
    layers.push_back(std::move(layer));
  }
  return layers;
}

}  // namespace

void add_image_options(Command& command, ImageOptions& options) {
  command.argument("REF", options.reference, "Image: oci:DIR[:TAG], oci-archive:FILE, layers:FILE,… or config:FILE")
      .option("--platform", options.platform, "OS/ARCH", "Which of an index's images, as in linux/arm64");
}

Result<oci::Reference> parse_image_reference(Session& session, const std::string& text) {
  DADI_TRY(oci::Reference reference, oci::parse_reference(text));
  if (reference.guessed) session.note(fmt::format("{} is taken for {}", text, reference.to_string()));
  return reference;
}

Result<StoredImage> open_stored_image(Session& session, const oci::Reference& reference, const std::string& platform) {
  oci::SelectOptions wanted{.platform = {}, .all = false, .for_conversion = false};
  if (!platform.empty()) {
    DADI_TRY(wanted.platform, oci::parse_platform(platform));
  }
  DADI_TRY(auto source, oci::open_source(reference));
  DADI_TRY(oci::Selection selection, oci::select(*source, wanted));
  for (const std::string& text : selection.notes) session.note(text);
  return StoredImage{std::move(source), std::move(selection.images.front())};
}

Result<BlockImage> open_block_image(Session& session, const ImageOptions& options) {
  DADI_TRY(const oci::Reference reference, parse_image_reference(session, options.reference));
  BlockImage image{.reference = reference.to_string(), .stored = {}, .layers = {}};
  const ReadContext context = session.read_context();
  if (reference.kind == oci::Reference::Kind::kLayers) {
    DADI_TRY(image.layers, open_layers_of(reference, context));
  } else if (reference.kind == oci::Reference::Kind::kConfig) {
    DADI_TRY(const RuntimeConfig config, RuntimeConfig::load(reference.path()));
    DADI_TRY(image.layers, open_layers_of(config, context));
  } else {
    DADI_TRY(image.stored, open_stored_image(session, reference, options.platform));
    DADI_TRY(image.layers, open_layers_of(*image.stored, context));
  }
  return image;
}

Result<std::shared_ptr<const lsmt::StackReader>> stack(std::vector<BlockLayer> layers) {
  std::vector<lsmt::LayerReader> readers;
  readers.reserve(layers.size());
  for (BlockLayer& layer : layers) readers.push_back(std::move(layer.reader));
  DADI_TRY(auto device, lsmt::StackReader::open(std::move(readers)));
  return std::shared_ptr<const lsmt::StackReader>(std::move(device));
}

Result<std::shared_ptr<const lsmt::StackReader>> open_device(Session& session, const ImageOptions& options) {
  DADI_TRY(BlockImage image, open_block_image(session, options));
  return stack(std::move(image.layers));
}

}  // namespace dadi
