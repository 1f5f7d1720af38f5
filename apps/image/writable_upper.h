// A writable layer on top of an image, in a folder that the user names or in one that goes with the process.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "apps/image/block_image.h"
#include "apps/image/image_place.h"
#include "libformat/lsmt/writable_layer.h"
#include "runtime/device/image_device.h"

namespace dadi {

struct UpperOptions {
  std::string folder;                                         // made if it is not there; empty: a temporary one
  lsmt::WritableForm form = lsmt::WritableForm::kAppendOnly;  // of a new layer
  Bytes limit{};                                              // of room taken; 0: none
  Bytes virtual_size{};                                       // of a new layer's device; 0: the image's
  std::optional<ImagePlace> image = {};                       // what a new layer is on top of; kept beside it
  bool make = true;                                           // a layer, if none is there
};

// Where the image is that the writable layer in a folder is on top of.
// Errors: not_found (the folder, or nothing of the kind in it), corruption, denied, io.
Result<ImagePlace> image_below(const std::filesystem::path& folder);

// An open writable layer. A temporary folder goes with it.
class WritableUpper {
 public:
  // Opens the layer in the folder, or makes one. What was mended is noted.
  // Errors: busy (another process has it), invalid_argument (the layer was made on top of another image), not_found (it
  // is not to be made), those of WritableLayer::create() and open().
  static Result<WritableUpper> open(const UpperOptions& options, std::shared_ptr<const runtime::ImageDevice> image,
                                    const Notes& notes);
  WritableUpper(WritableUpper&& other) noexcept
      : temporary_(std::exchange(other.temporary_, {})), layer_(std::move(other.layer_)) {}
  WritableUpper& operator=(WritableUpper&&) = delete;
  ~WritableUpper();

  const std::shared_ptr<lsmt::WritableLayer>& layer() const { return layer_; }

 private:
  WritableUpper() = default;

  std::filesystem::path temporary_;  // to be removed; empty: none
  std::shared_ptr<lsmt::WritableLayer> layer_;
};

}  // namespace dadi
