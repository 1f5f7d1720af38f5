// From a reference to a device for many readers: what `dadi serve` and dadid serve.
#pragma once

#include "apps/image/block_image.h"
#include "runtime/attach/records.h"
#include "runtime/device/image_device.h"

namespace dadi {

struct OpenImage {
  std::shared_ptr<runtime::ImageDevice> device;
  std::shared_ptr<LazyBlobs> lazy;  // of an image on a registry
};

// Errors: those of find_block_image() and ImageDevice::open().
Result<OpenImage> open_image_device(const oci::Reference& reference, const std::string& platform,
                                    const ImageReach& reach, runtime::DeviceOptions options, const ReadContext& context,
                                    const Notes& notes);

// What `dadi attach` has left for dadid of how the image is reached. Errors: corruption.
Result<ImageReach> reach_of(const attach::DeviceSpec& spec);

}  // namespace dadi
