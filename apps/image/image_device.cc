#include "apps/image/image_device.h"

namespace dadi {

Result<OpenImage> open_image_device(const oci::Reference& reference, const std::string& platform,
                                    const ImageReach& reach, runtime::DeviceOptions options, const ReadContext& context,
                                    const Notes& notes) {
  DADI_TRY(FoundImage image, find_block_image(reference, platform, notes, reach));
  std::vector<runtime::DeviceLayer> layers;
  for (FoundLayer& layer : image.layers) {
    if (layer.writable) {
      layers.push_back({std::move(layer.name), std::move(*layer.writable)});
    } else {
      layers.push_back({std::move(layer.name), std::move(layer.blob)});
    }
  }
  DADI_TRY(std::shared_ptr<runtime::ImageDevice> device,
           runtime::ImageDevice::open(std::move(layers), std::move(options), context));
  if (image.lazy) image.lazy->opened();
  return OpenImage{std::move(device), std::move(image.lazy)};
}

Result<ImageReach> reach_of(const attach::DeviceSpec& spec) {
  if (spec.reach.is_null()) return ImageReach{};
  return image_reach_of(spec.reach);
}

}  // namespace dadi
