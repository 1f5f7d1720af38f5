#include "libconvert/pipeline/layer_sequence.h"

#include "libconvert/pipeline/layers_ahead.h"
#include "libconvert/pipeline/layers_behind.h"
#include "libconvert/pipeline/reused_layers.h"

namespace dadi::pipeline {

namespace {

constexpr std::size_t kMostBehind = 8;  // layers whose blobs are completed while the next is planned

class Conversion {
 public:
  Conversion(const LayerSequence& sequence, oci::ImageDestination& destination, oci::Family family,
             const ConvertOptions& options, CompressionWorkers& workers, ConvertObserver& observer, bool& out_of_room)
      : sequence_(sequence),
        destination_(destination),
        family_(family),
        options_(options),
        workers_(workers),
        observer_(observer),
        out_of_room_(out_of_room) {}

  Result<std::vector<ConvertedLayer>> run() {
    const auto& layers = sequence_.layers;
    fs::ArchiveBudget budget(options_.limits);
    DADI_TRY(ReusedLayers reused, reuse_layers(sequence_, destination_, family_, options_, budget, observer_));
    fs::PlannedStack stack =
        reused.device ? fs::PlannedStack(std::move(reused.device)) : fs::PlannedStack(options_.virtual_size);
    const layer_cache::HeldFiles held(options_.cache, destination_);
    LayersAhead ahead(layers, options_, observer_, reused.layers.size());
    LayersBehind behind(family_);
    converted_ = std::move(reused.layers);
    for (std::size_t i = 0; i < converted_.size(); ++i) tell_of_times(i);
    for (std::size_t i = converted_.size(); i < layers.size(); ++i) {
      const auto stream = ahead.take(i);
      auto planned = plan_layer(*stream, destination_, layers[i], budget, stack, workers_, options_, out_of_room_)
                         .context("{}", full_name(layers[i]));
      if (!planned) {
        DADI_CHECK(collect(behind, 0));  // the first layer that failed is the one to be told of
        return std::move(planned).error();
      }
      const auto used = std::move(planned->used);
      behind.add(std::move(*planned), full_name(layers[i]));
      DADI_CHECK(collect(behind, kMostBehind));
    }
    DADI_CHECK(collect(behind, 0));
    return std::move(converted_);
  }

 private:
  Result<void> collect(LayersBehind& behind, std::size_t most_behind) {
    while (behind.size() > most_behind || behind.first_is_done()) {
      auto layer = behind.take_first();
      if (!layer) {
        out_of_room_ = false;
        return std::move(layer).error();
      }
      const std::size_t number = converted_.size();
      keep(*layer, number);
      observer_.layer_finished(number, *layer);
      converted_.push_back(std::move(*layer));
      tell_of_times(number);
    }
    return {};
  }

  void keep(const ConvertedLayer& layer, std::size_t number) {
    if (options_.cache == nullptr) return;
    const layer_cache::KeptLayer kept{.key = key_of_layer(sequence_.layers[number].chain, options_),
                                      .blob = {layer.result.digest, layer.result.size},
                                      .entries = layer.entries,
                                      .segments = layer.segments,
                                      .data = layer.data,
                                      .clamped_times = layer.clamped_times,
                                      .archive = layer.archive};
    if (const auto done = options_.cache->keep(kept, number); !done)
      observer_.note(
          fmt::format("{} is not kept in the cache: {}", sequence_.layers[number].name, done.error().message()));
    options_.cache->use(kept);
  }

  void tell_of_times(std::size_t number) {
    if (converted_[number].clamped_times > 0)
      observer_.note(
          fmt::format("{}: times of {} entries are outside of what ext4 can hold, 1901 to 2446; the "
                      "nearest that it can stands for them",
                      sequence_.layers[number].name, converted_[number].clamped_times));
  }

  const LayerSequence& sequence_;
  oci::ImageDestination& destination_;
  oci::Family family_;
  const ConvertOptions& options_;
  CompressionWorkers& workers_;
  ConvertObserver& observer_;
  bool& out_of_room_;
  std::vector<ConvertedLayer> converted_;
};

}  // namespace

Result<std::vector<ConvertedLayer>> convert_layers(const LayerSequence& sequence, oci::ImageDestination& destination,
                                                   oci::Family family, const ConvertOptions& options,
                                                   CompressionWorkers& workers, ConvertObserver& observer,
                                                   bool& out_of_room) {
  return Conversion(sequence, destination, family, options, workers, observer, out_of_room).run();
}

}  // namespace dadi::pipeline
