#include "libconvert/pipeline/layers_behind.h"

namespace dadi::pipeline {

void LayersBehind::add(PlannedLayer planned, std::string name) {
  layers_.push_back({std::move(name), std::async(std::launch::async, finish_layer, std::move(planned), family_)});
}

bool LayersBehind::first_is_done() const {
  return !layers_.empty() && layers_.front().result.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

Result<ConvertedLayer> LayersBehind::take_first() {
  Layer layer = std::move(layers_.front());
  layers_.pop_front();
  return layer.result.get().context("{}", layer.name);
}

}  // namespace dadi::pipeline
