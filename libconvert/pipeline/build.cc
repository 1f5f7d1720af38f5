#include "libconvert/pipeline/build.h"

#include <algorithm>

#include "libconvert/oci/converted.h"
#include "libconvert/oci/verified_source.h"
#include "libconvert/pipeline/decompressed_source.h"
#include "libconvert/pipeline/layer_sequence.h"
#include "libformat/base/bytes.h"
#include "libformat/lsmt/merged_index.h"
#include "libfs/writer/block.h"

namespace dadi::pipeline {

namespace {

constexpr std::size_t kPiece = std::size_t{256} << 10;

// Says how far a stream is, and stops on request.
class WatchedSource final : public ByteSource {
 public:
  WatchedSource(std::unique_ptr<ByteSource> source, const std::stop_token& stop,
                const std::function<void(Bytes)>& progress)
      : source_(std::move(source)), stop_(stop), progress_(progress) {}

  Result<std::span<const std::byte>> next() override {
    if (stop_.stop_requested()) return Error::cancelled("stopped");
    DADI_TRY(const auto piece, source_->next());
    seen_ += Bytes{piece.size()};
    progress_(seen_);
    return piece;
  }

 private:
  std::unique_ptr<ByteSource> source_;
  const std::stop_token& stop_;
  const std::function<void(Bytes)>& progress_;
  Bytes seen_;
};

// What stands for a layer and for all that lies below it.
Digest chain(std::string_view below, const Digest& diff_id) {
  return Digest::of(as_bytes(fmt::format("dadi build\n{}\n{}\n", below, diff_id.to_string())));
}

// A layer is named after the uuid below it alone.
LayerSequence sequence_of(const BuildBase& base, const std::vector<AddedArchive>& archives) {
  LayerSequence sequence{.below = base.layers, .layers = {}};
  std::string below(base.chain);
  lsmt::Uuid parent = base.layers.back().info().uuid;
  for (const AddedArchive& added : archives) {
    const Digest place = chain(below, added.diff_id);
    const auto uuid = lsmt::Uuid::of(chain(parent.to_string(), added.diff_id));
    sequence.layers.push_back(
        {.name = added.name,
         .source = {.media_type = {}, .digest = added.diff_id, .size = added.archive->size()},
         .diff_id = added.diff_id,
         .open = [archive = added.archive](const ReadContext& context) -> Result<std::unique_ptr<ByteSource>> {
           return std::make_unique<oci::BlobStream>(archive, context);
         },
         .chain = place,
         .uuid = uuid,
         .parent = parent});
    below = chain_of(below, added.diff_id);
    parent = uuid;
  }
  return sequence;
}

Result<void> check_base(const BuildBase& base, std::size_t added, Bytes size) {
  if (base.layers.size() + added > lsmt::kMaxLayers)
    return Error::exhausted("{} layers on top of {}: a device has room for {}", added, base.layers.size(),
                            lsmt::kMaxLayers)
        .with_hint("make one layer of the base's first: dadi flatten SRC DST");
  if (size.value == 0 || size.value % fs::kBlockSize != 0)
    return Error::unsupported("a device of {} bytes, which are not whole blocks of 4 KiB", size.value);
  return {};
}

}  // namespace

std::string chain_of(const oci::Manifest& base) {
  std::string chain;
  for (const oci::Descriptor& layer : base.layers)
    if (oci::form_of(layer) != oci::LayerForm::kAcceleration) chain += layer.digest.to_string() + " ";
  return chain;
}

std::string chain_of(std::string_view below, const Digest& what) {
  return chain(below, what).to_string();
}

Bytes device_size(const std::vector<lsmt::LayerReader>& layers) {
  for (auto layer = layers.rbegin(); layer != layers.rend(); ++layer)
    if (layer->info().virtual_size.value > 0) return layer->info().virtual_size;
  return {};
}

Result<Digest> diff_id_of(const SharedBlob& archive, Bytes most, const std::stop_token& stop,
                          const std::function<void(Bytes)>& progress) {
  auto stored = std::make_unique<WatchedSource>(std::make_unique<oci::BlobStream>(archive), stop, progress);
  DADI_TRY(const auto source, DecompressedSource::open(std::move(stored)));
  fs::ArchiveBudget budget({.size = most});
  Hasher hasher;
  std::vector<std::byte> buffer(kPiece);
  for (;;) {
    // A small archive may unfold to a very large one, without a call of next().
    if (stop.stop_requested()) return Error::cancelled("stopped");
    DADI_TRY(const std::size_t size, source->read(buffer));
    if (size == 0) return hasher.finish();
    DADI_CHECK(budget.take({size}));
    hasher.update(std::span(buffer).first(size));
  }
}

Result<std::vector<ConvertedLayer>> add_layers(const BuildBase& base, const std::vector<AddedArchive>& archives,
                                               oci::ImageDestination& destination, ConvertOptions options,
                                               CompressionWorkers& workers, ConvertObserver& observer) {
  options.virtual_size = device_size(base.layers);
  DADI_CHECK(check_base(base, archives.size(), options.virtual_size));
  bool out_of_room = false;
  auto layers = convert_layers(sequence_of(base, archives), destination, oci::family_of(base.manifest.media_type),
                               options, workers, observer, out_of_room);
  if (!layers && out_of_room)
    return std::move(layers.error())
        .with_hint("the device is the base's; one that is larger has room: dadi resize BASE SIZE LARGER");
  return layers;
}

}  // namespace dadi::pipeline
