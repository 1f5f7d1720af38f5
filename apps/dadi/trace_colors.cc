#include "apps/dadi/trace_colors.h"

#include <algorithm>
#include <vector>

namespace dadi {

TraceColors::TraceColors(const std::map<std::uint32_t, LayerReads>& layers) : some_share_(layers.size() > kOwn) {
  std::vector<std::uint32_t> by_size;
  for (const auto& [number, layer] : layers) by_size.push_back(number);
  std::ranges::stable_sort(by_size, std::ranges::greater{},
                           [&](std::uint32_t number) { return layers.at(number).distinct; });
  for (unsigned i = 0; i < kOwn && i < by_size.size(); ++i) own_[by_size[i]] = i;
}

unsigned TraceColors::of(std::uint32_t layer) const {
  const auto found = own_.find(layer);
  return found == own_.end() ? kShared : found->second;
}

}  // namespace dadi
