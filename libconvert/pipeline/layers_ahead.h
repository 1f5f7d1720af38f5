// Layers on their way to the planner: some are fetched and decompressed while one is planned. Internal
// to this folder.
#pragma once

#include <deque>

#include "libconvert/pipeline/layer_conversion.h"

namespace dadi::pipeline {

// One thread at a time. All arguments are borrowed. Memory: 10 MiB or more a layer, with the number of jobs.
class LayersAhead {
 public:
  // Nothing starts before the first take(). Layers before `first` are left out.
  LayersAhead(std::span<const SourceLayer> layers, const ConvertOptions& options, ConvertObserver& observer,
              std::size_t first = 0)
      : layers_(layers), options_(options), observer_(observer), next_(first) {}

  // The stream of a layer (see open_layer_stream()), and a start for those that follow it. REQUIRES: each from `first`
  // on is taken once, in order.
  std::unique_ptr<ByteSource> take(std::size_t number);

 private:
  void start(std::size_t number);

  std::span<const SourceLayer> layers_;
  const ConvertOptions& options_;
  ConvertObserver& observer_;
  std::size_t next_;  // to be started
  std::deque<std::unique_ptr<ByteSource>> started_;
};

}  // namespace dadi::pipeline
