#include "apps/image/traced_places.h"

namespace dadi {

TracedPlaces::TracedPlaces(std::span<const BlockLayer> layers) {
  for (const BlockLayer& layer : layers) layers_.emplace_back(layer.reader);
}

void TracedPlaces::visit(const trace::Read& read, const std::function<void(const Piece&)>& visitor) const {
  if (read.layer < layers_.size()) return layers_[read.layer].visit(read.offset, read.size, visitor);
  if (read.size.value > 0) visitor({Kind::kBeyond, {}, read.size});
}

}  // namespace dadi
