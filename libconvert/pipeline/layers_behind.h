// Layers that were planned, while their blobs are compressed, hashed and made durable. Internal to this folder.
#pragma once

#include <deque>
#include <future>
#include <string>

#include "libconvert/pipeline/layer_conversion.h"

namespace dadi::pipeline {

// A thread a layer. One thread at a time may call. Destroyed, it waits for them.
class LayersBehind {
 public:
  explicit LayersBehind(oci::Family family) : family_(family) {}

  // `name`: the layer's, for errors.
  void add(PlannedLayer planned, std::string name);

  std::size_t size() const { return layers_.size(); }
  bool first_is_done() const;
  // Waits for the one that was added first. REQUIRES: size() > 0. Errors: those of LayerBlob::finish().
  Result<ConvertedLayer> take_first();

 private:
  struct Layer {
    std::string name;
    std::future<Result<ConvertedLayer>> result;
  };

  oci::Family family_;
  std::deque<Layer> layers_;
};

}  // namespace dadi::pipeline
