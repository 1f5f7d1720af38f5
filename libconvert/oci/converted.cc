#include "libconvert/oci/converted.h"

#include <algorithm>

namespace dadi::oci {

LayerForm form_of(const Descriptor& layer) {
  if (layer.annotation(kAccelerationLayer) == "yes") return LayerForm::kAcceleration;
  if (layer.annotations.contains(kTurboTargetDigest) || layer.annotations.contains(kFastociTargetDigest))
    return LayerForm::kTurbo;
  return layer.annotations.contains(kBlobDigest) ? LayerForm::kBlock : LayerForm::kArchive;
}

bool is_converted(const Manifest& manifest) {
  return !manifest.layers.empty() &&
         std::ranges::none_of(manifest.layers, [](const Descriptor& d) { return form_of(d) == LayerForm::kArchive; });
}

Descriptor block_layer_descriptor(const Digest& digest, Bytes size, Family family) {
  return {.media_type = std::string(layer_type(family)),
          .digest = digest,
          .size = size,
          .annotations = {
              {kBlobDigest, digest.to_string()}, {kBlobSize, std::to_string(size.value)}, {kVersion, kNativeVersion}}};
}

}  // namespace dadi::oci
