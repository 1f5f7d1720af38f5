#include "apps/image/carried_trace.h"

#include "libconvert/oci/acceleration_layer.h"
#include "libconvert/oci/converted.h"

namespace dadi {

std::optional<oci::Descriptor> trace_layer(const oci::Manifest& manifest) {
  if (manifest.layers.empty() || oci::form_of(manifest.layers.back()) != oci::LayerForm::kAcceleration) return {};
  return manifest.layers.back();
}

Result<std::vector<trace::Read>> carried_trace(const oci::ImageSource& source, const oci::Descriptor& layer) {
  DADI_TRY(auto archive, oci::read_document(source, layer, oci::kAccelerationLayerLimit));
  DADI_TRY(const auto data, oci::trace_of(std::move(archive)));
  return trace::decode(data);
}

}  // namespace dadi
