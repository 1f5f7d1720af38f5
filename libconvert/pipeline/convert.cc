#include "libconvert/pipeline/convert.h"

#include "libconvert/oci/converted.h"
#include "libconvert/pipeline/layer_sequence.h"
#include "libfs/writer/ext2_file_system.h"

namespace dadi::pipeline {

namespace {

// "64G" where a size is a whole number of a unit.
std::string brief_size(Bytes size) {
  for (const auto& [shift, unit] : {std::pair{40, 'T'}, {30, 'G'}, {20, 'M'}})
    if (size.value % (std::uint64_t{1} << shift) == 0) return fmt::format("{}{}", size.value >> shift, unit);
  return fmt::format("{}", size.value);
}

// Has a manifest or index say that it is another form of its source.
template <typename Document>
void refer(Document& document, const oci::Descriptor& source) {
  document.artifact_type = oci::kNativeArtifactType;
  document.subject = oci::Descriptor{.media_type = source.media_type, .digest = source.digest, .size = source.size};
}

class ImageConversion {
 public:
  ImageConversion(const oci::ImageSource& source, oci::ImageDestination& destination, const ConvertOptions& options,
                  CompressionWorkers& workers, ConvertObserver& observer)
      : source_(source), destination_(destination), options_(options), workers_(workers), observer_(observer) {}

  Result<ConvertedImage> run(const oci::SelectedImage& image) {
    observer_.image_selected(image);
    const auto& layers = image.manifest.layers;
    if (layers.empty()) return Error::unsupported("the image has no layers");
    if (oci::is_converted(image.manifest))
      return Error::unsupported("the image consists of block layers already").with_hint("copy it as it is");
    family_ = options_.media_types.value_or(oci::family_of(image.manifest.media_type));
    ConvertedImage converted{image.platform, image.descriptor, image.descriptor, {}};
    DADI_TRY(converted.layers, convert_all(image));
    DADI_TRY(converted.manifest, put_manifest(image, converted.layers));
    return converted;
  }

 private:
  Result<std::vector<ConvertedLayer>> convert_all(const oci::SelectedImage& image) {
    bool out_of_room = false;
    auto converted =
        convert_layers(sequence_of(image), destination_, family_, options_, workers_, observer_, out_of_room);
    if (!converted && out_of_room) return too_small(image, std::move(converted).error());
    return converted;
  }

  LayerSequence sequence_of(const oci::SelectedImage& image) const {
    LayerSequence sequence;
    const std::vector<Digest> chain = oci::chain_ids(image.config.diff_ids());
    for (std::size_t i = 0; i < chain.size(); ++i) {
      const oci::Descriptor& layer = image.manifest.layers[i];
      sequence.layers.push_back({.name = fmt::format("layer {}", i + 1),
                                 .source = layer,
                                 .diff_id = image.config.diff_ids()[i],
                                 .open = opener(source_, layer),
                                 .chain = chain[i],
                                 .uuid = lsmt::Uuid::of(chain[i]),
                                 .parent = i == 0 ? lsmt::Uuid{} : lsmt::Uuid::of(chain[i - 1]),
                                 .bottom = i == 0});
    }
    return sequence;
  }

  // The error, with a size that would have done.
  Error too_small(const oci::SelectedImage& image, Error error) {
    const auto fitting = fitting_virtual_size(source_, image, options_);
    if (!fitting) return error;
    return std::move(error).with_hint("--virtual-size {} is enough for this image ({} was not)", brief_size(*fitting),
                                      brief_size(options_.virtual_size));
  }

  Result<oci::Descriptor> put_manifest(const oci::SelectedImage& image, const std::vector<ConvertedLayer>& layers) {
    std::vector<Digest> digests;
    std::vector<oci::Descriptor> descriptors;
    for (const ConvertedLayer& layer : layers) {
      digests.push_back(layer.result.digest);
      descriptors.push_back(layer.result);
    }
    // Of a plain tar the diff id is the blob's own digest.
    const std::string config_json = image.config.with_diff_ids(digests);
    DADI_TRY(const oci::Descriptor config, oci::put_document(destination_, config_json, oci::config_type(family_)));
    oci::Manifest manifest{.media_type = std::string(oci::manifest_type(family_)),
                           .artifact_type = {},
                           .config = config,
                           .layers = std::move(descriptors),
                           .subject = {},
                           .annotations = image.manifest.annotations};
    if (options_.referrer) refer(manifest, image.descriptor);
    return oci::put_document(destination_, manifest.to_json(), manifest.media_type);
  }

  const oci::ImageSource& source_;
  oci::ImageDestination& destination_;
  const ConvertOptions& options_;
  CompressionWorkers& workers_;
  ConvertObserver& observer_;
  oci::Family family_ = oci::Family::kOci;
};

Result<oci::Descriptor> put_index(const oci::Index& source, const oci::Descriptor& root,
                                  const std::vector<ConvertedImage>& images, oci::ImageDestination& destination,
                                  const ConvertOptions& options) {
  oci::Index index;
  index.media_type = oci::index_type(options.media_types.value_or(oci::family_of(source.media_type)));
  if (options.referrer) refer(index, root);
  index.annotations = source.annotations;
  for (const ConvertedImage& image : images) {
    oci::Descriptor entry = image.manifest;
    entry.platform = image.platform;
    index.manifests.push_back(std::move(entry));
  }
  return oci::put_document(destination, index.to_json(), index.media_type);
}

}  // namespace

Result<void> check_virtual_size(Bytes size) {
  if (size < fs::kSmallestDevice || size > fs::kLargestDevice || size.value % fs::kBlockSize != 0)
    return Error::invalid_argument(
        "a virtual size of {} bytes: it must be a multiple of 4 KiB from 1 MiB to below 2 TiB", size.value);
  return {};
}

Result<ConvertResult> convert(const oci::ImageSource& source, oci::ImageDestination& destination,
                              const ConvertOptions& options, ConvertObserver& observer) {
  DADI_CHECK(check_virtual_size(options.virtual_size));
  DADI_CHECK(zfile::check_options(options.compression));
  DADI_TRY(const oci::Selection selection, oci::select(source, options.select));
  for (const std::string& note : selection.notes) observer.note(note);
  DADI_TRY(const auto workers, CompressionWorkers::create(options.compression, options.jobs));
  ConvertResult result{source.root(), {}};
  for (const oci::SelectedImage& image : selection.images) {
    auto converted = ImageConversion(source, destination, options, *workers, observer).run(image);
    if (selection.images.size() > 1) converted = std::move(converted).context("{}", image.platform.to_string());
    if (!converted) return std::move(converted).error();
    result.images.push_back(std::move(*converted));
  }
  result.root = result.images.front().manifest;
  if (options.select.all && selection.index) {
    DADI_TRY(result.root, put_index(*selection.index, source.root(), result.images, destination, options));
  }
  DADI_CHECK(destination.commit(result.root));
  return result;
}

}  // namespace dadi::pipeline
