#include "libconvert/pipeline/convert.h"

#include "libconvert/oci/converted.h"
#include "libconvert/pipeline/layers_ahead.h"
#include "libconvert/pipeline/layers_behind.h"
#include "libconvert/pipeline/reused_layers.h"
#include "libfs/writer/ext2_file_system.h"

namespace dadi::pipeline {

namespace {

constexpr std::size_t kMostBehind = 8;  // layers whose blobs are completed while the next is planned

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

// While it lives, the cache takes hold of what is written to the destination.
class HeldFiles {
 public:
  HeldFiles(layer_cache::ConversionCache* cache, oci::ImageDestination& destination) : destination_(destination) {
    if (cache == nullptr) return;
    destination.on_finished([cache](const auto& file, const BlobIdentity& blob) { cache->hold(file, blob); });
  }
  ~HeldFiles() { destination_.on_finished({}); }
  HeldFiles(const HeldFiles&) = delete;
  HeldFiles& operator=(const HeldFiles&) = delete;

 private:
  oci::ImageDestination& destination_;
};

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
    DADI_TRY(converted.layers, convert_layers(image));
    DADI_TRY(converted.manifest, put_manifest(image, converted.layers));
    return converted;
  }

 private:
  Result<std::vector<ConvertedLayer>> convert_layers(const oci::SelectedImage& image) {
    const auto& diff_ids = image.config.diff_ids();
    const std::vector<Digest> chain = oci::chain_ids(diff_ids);
    fs::ArchiveBudget budget(options_.limits);
    DADI_TRY(ReusedLayers reused, reuse_layers(image, chain, destination_, family_, options_, budget, observer_));
    fs::PlannedStack stack =
        reused.device ? fs::PlannedStack(std::move(reused.device)) : fs::PlannedStack(options_.virtual_size);
    const HeldFiles held(options_.cache, destination_);
    LayersAhead ahead(source_, image, options_, observer_, reused.layers.size());
    LayersBehind behind(family_);
    std::vector<ConvertedLayer> converted = std::move(reused.layers);
    for (std::size_t i = 0; i < converted.size(); ++i) tell_of_times(i, converted[i]);
    const auto collect = [&](std::size_t most_behind) -> Result<void> {
      while (behind.size() > most_behind || behind.first_is_done()) {
        DADI_TRY(ConvertedLayer layer, behind.take_first());
        const std::size_t number = converted.size();
        keep(layer, number, chain[number]);
        observer_.layer_finished(number, layer);
        tell_of_times(number, layer);
        converted.push_back(std::move(layer));
      }
      return {};
    };
    for (std::size_t i = converted.size(); i < diff_ids.size(); ++i) {
      const oci::Descriptor& layer = image.manifest.layers[i];
      const LayerTask task{i, layer, diff_ids[i], chain[i], i == 0 ? nullptr : &chain[i - 1], budget};
      bool out_of_room = false;
      auto planned = plan_layer(*ahead.take(i), destination_, task, stack, workers_, options_, out_of_room)
                         .context("{}", name_of(i, layer));
      if (!planned) {
        DADI_CHECK(collect(0));  // the first layer that failed is the one to be told of
        return out_of_room ? too_small(image, std::move(planned).error()) : std::move(planned).error();
      }
      behind.add(std::move(*planned), name_of(i, layer));
      DADI_CHECK(collect(kMostBehind));
    }
    DADI_CHECK(collect(0));
    return converted;
  }

  static std::string name_of(std::size_t number, const oci::Descriptor& layer) {
    return fmt::format("layer {} ({})", number + 1, layer.digest.brief());
  }

  void keep(const ConvertedLayer& layer, std::size_t number, const Digest& chain_id) {
    if (options_.cache == nullptr) return;
    const layer_cache::KeptLayer kept{.key = key_of_layer(chain_id, options_),
                                      .blob = {layer.result.digest, layer.result.size},
                                      .entries = layer.entries,
                                      .segments = layer.segments,
                                      .data = layer.data,
                                      .clamped_times = layer.clamped_times,
                                      .archive = layer.archive};
    if (const auto done = options_.cache->keep(kept, number); !done)
      observer_.note(fmt::format("layer {} is not kept in the cache: {}", number + 1, done.error().message()));
    options_.cache->use(kept);
  }

  void tell_of_times(std::size_t number, const ConvertedLayer& layer) {
    if (layer.clamped_times > 0)
      observer_.note(
          fmt::format("layer {}: times of {} entries are outside of what ext4 can hold, 1901 to 2446; the "
                      "nearest that it can stands for them",
                      number + 1, layer.clamped_times));
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

Result<void> check_virtual_size(Bytes size) {
  if (size < fs::kSmallestDevice || size > fs::kLargestDevice || size.value % fs::kBlockSize != 0)
    return Error::invalid_argument(
        "a virtual size of {} bytes: it must be a multiple of 4 KiB from 1 MiB to below 2 TiB", size.value);
  return {};
}

}  // namespace

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
