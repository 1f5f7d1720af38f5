#include "libconvert/pipeline/reused_layers.h"

#include "libconvert/oci/converted.h"
#include "libformat/layer_file.h"
#include "libformat/lsmt/stack_reader.h"

namespace dadi::pipeline {

namespace {

using layer_cache::KeptLayer;

class Reuse {
 public:
  Reuse(const LayerSequence& sequence, oci::ImageDestination& destination, oci::Family family,
        const ConvertOptions& options, ConvertObserver& observer)
      : sequence_(sequence), destination_(destination), family_(family), options_(options), observer_(observer) {}

  Result<ReusedLayers> run() {
    if (options_.cache != nullptr) find();
    // Whenever one turns out not to be usable, those below it are left.
    for (bool settled = false; !settled;) {
      DADI_TRY(settled, try_found());
    }
    for (const KeptLayer& layer : found_) options_.cache->use(layer);
    return std::move(reused_);
  }

 private:
  void find() {
    for (std::size_t i = 0; i < sequence_.layers.size(); ++i) {
      auto layer = options_.cache->find(key_of_layer(sequence_.layers[i].chain, options_), i);
      if (!layer) return;
      found_.push_back(std::move(*layer));
    }
  }

  // False: a layer was given up.
  Result<bool> try_found() {
    reused_.device = nullptr;
    const bool any = !found_.empty() || !sequence_.below.empty();
    if (any && found_.size() < sequence_.layers.size()) {
      DADI_TRY(const bool opened, open_device());
      if (!opened) return false;
    }
    while (reused_.layers.size() < found_.size()) {
      DADI_TRY(const bool delivered, deliver(reused_.layers.size()));
      if (!delivered) return false;
    }
    return true;
  }

  // The layer's blob. None: it is given up, and those above it.
  Result<SharedBlob> open_blob(std::size_t number) {
    auto blob = options_.cache->open_blob(found_[number]);
    if (!blob && options_.stop.stop_requested()) return Error::cancelled("stopped");
    if (blob) return blob;
    give_up(number, blob.error());
    return SharedBlob();
  }

  void give_up(std::size_t number, const Error& why) {
    if (why.code() != ErrorCode::kNotFound)
      observer_.note(
          fmt::format("{}: what the cache has of it is not usable: {}", sequence_.layers[number].name, why.message()));
    options_.cache->forget(found_[number]);
    found_.erase(found_.begin() + static_cast<std::ptrdiff_t>(number), found_.end());
    auto& layers = reused_.layers;
    if (layers.size() > number) layers.erase(layers.begin() + static_cast<std::ptrdiff_t>(number), layers.end());
  }

  Result<lsmt::LayerReader> open_layer(const SharedBlob& blob, std::size_t number) const {
    DADI_TRY(LayerFile file, open_layer_file(blob, {.stop = options_.stop}));
    const lsmt::LayerInfo& info = file.layer.info();
    if (info.uuid != sequence_.layers[number].uuid || info.virtual_size != options_.virtual_size)
      return Error::corruption("it is another layer");
    return std::move(file.layer);
  }

  Result<bool> open_device() {
    std::vector<lsmt::LayerReader> layers = sequence_.below;
    for (std::size_t i = 0; i < found_.size(); ++i) {
      DADI_TRY(const SharedBlob blob, open_blob(i));
      if (!blob) return false;
      auto layer = open_layer(blob, i);
      if (!layer) {
        give_up(i, layer.error());
        return false;
      }
      layers.push_back(std::move(*layer));
    }
    DADI_TRY(reused_.device, lsmt::StackReader::open(std::move(layers)));
    return true;
  }

  Result<bool> deliver(std::size_t number) {
    const KeptLayer& layer = found_[number];
    const oci::Descriptor& source = sequence_.layers[number].source;
    observer_.layer_started(number, source);
    DADI_TRY(const bool there, destination_.has_blob(layer.blob.digest, layer.blob.size));
    if (!there) {
      DADI_TRY(const SharedBlob blob, open_blob(number));
      if (!blob) return false;
      DADI_CHECK(layer_cache::copy_blob(blob, layer.blob, destination_, options_.stop));
    }
    reused_.layers.push_back({.source = source,
                              .result = oci::block_layer_descriptor(layer.blob.digest, layer.blob.size, family_),
                              .entries = layer.entries,
                              .segments = layer.segments,
                              .data = layer.data,
                              .clamped_times = layer.clamped_times,
                              .archive = layer.archive,
                              .cached = true});
    observer_.layer_finished(number, reused_.layers.back());
    return true;
  }

  const LayerSequence& sequence_;
  oci::ImageDestination& destination_;
  oci::Family family_;
  const ConvertOptions& options_;
  ConvertObserver& observer_;
  std::vector<KeptLayer> found_;
  ReusedLayers reused_;
};

}  // namespace

Digest key_of_layer(const Digest& chain, const ConvertOptions& options) {
  return layer_cache::key_of({chain, options.virtual_size, options.compression});
}

Result<ReusedLayers> reuse_layers(const LayerSequence& sequence, oci::ImageDestination& destination, oci::Family family,
                                  const ConvertOptions& options, fs::ArchiveBudget& budget, ConvertObserver& observer) {
  DADI_TRY(ReusedLayers reused, Reuse(sequence, destination, family, options, observer).run());
  for (std::size_t i = 0; i < reused.layers.size(); ++i) {
    const ConvertedLayer& layer = reused.layers[i];
    DADI_CHECK(budget.take_entries(layer.entries).context("{}", full_name(sequence.layers[i])));
    DADI_CHECK(budget.take(layer.archive).context("{}", full_name(sequence.layers[i])));
  }
  return reused;
}

}  // namespace dadi::pipeline
