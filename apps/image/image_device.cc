#include "apps/image/image_device.h"

namespace dadi {

Result<std::unique_ptr<runtime::ImageDevice>> open_image_device(const oci::Reference& reference,
                                                                const std::string& platform,
                                                                runtime::DeviceOptions options,
                                                                const ReadContext& context, const Notes& notes) {
  DADI_TRY(FoundImage image, find_block_image(reference, platform, notes));
  std::vector<runtime::DeviceLayer> layers;
  for (FoundLayer& layer : image.layers) {
    if (layer.writable) {
      layers.push_back({std::move(layer.name), std::move(*layer.writable)});
    } else {
      layers.push_back({std::move(layer.name), std::move(layer.blob)});
    }
  }
  return runtime::ImageDevice::open(std::move(layers), std::move(options), context);
}

}  // namespace dadi
