// From a reference to a device for many readers: what `dadi serve` and dadid serve.
#pragma once

#include "apps/image/block_image.h"
#include "runtime/device/image_device.h"

namespace dadi {

// Errors: those of find_block_image() and ImageDevice::open().
Result<std::unique_ptr<runtime::ImageDevice>> open_image_device(const oci::Reference& reference,
                                                                const std::string& platform,
                                                                runtime::DeviceOptions options,
                                                                const ReadContext& context, const Notes& notes);

}  // namespace dadi
