// What is written on top of an image, in a folder that the user names or in one that goes with the process.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "apps/image/block_image.h"
#include "apps/image/writable_place.h"
#include "libformat/lsmt/writable_stack.h"
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

// The open writable layers of a folder, nearly always one. A temporary folder goes with it.
class WritableUpper {
 public:
  // Opens the layers in the folder, or makes one. What was mended is noted.
  // Errors: busy (another process has it), invalid_argument (they were made on top of another image), not_found (none
  // is to be made), those of WritableLayer::create() and open().
  static Result<WritableUpper> open(const UpperOptions& options, std::shared_ptr<const runtime::ImageDevice> image,
                                    const Notes& notes);
  WritableUpper(WritableUpper&& other) noexcept
      : temporary_(std::exchange(other.temporary_, {})),
        path_(std::move(other.path_)),
        limit_(other.limit_),
        went_on_in_(std::move(other.went_on_in_)),
        folder_(std::move(other.folder_)),
        stack_(std::move(other.stack_)) {}
  WritableUpper& operator=(WritableUpper&&) = delete;
  ~WritableUpper();

  const std::shared_ptr<lsmt::WritableStack>& layers() const { return stack_; }

  // Goes on in the layer of that name, which is in the folder and which nobody has open: it is put on top of all
  // others, also for who opens the folder later. It was made for what there was after so many changes(). Errors: those
  // of WritableStack::put_on_top() and WritableLayer::open(); invalid_argument (no such name, or one that is taken);
  // exhausted (too many layers on each other). With any, everything is as before.
  Result<void> go_on_in(const std::string& name, std::uint64_t changes);

  // From the next time that the folder is opened, the layer of that name and those on top of it lie on another image,
  // which holds what the ones below it hold on top of this one. They are deleted, and go on for who has them open.
  // Nothing happens if another image has taken the place of this one meanwhile. Errors: not_found (this device never
  // went on in that layer), those of the folder.
  Result<void> put_on_image(const std::string& name, const ImagePlace& image);

 private:
  WritableUpper() = default;
  Result<std::shared_ptr<WritableFolder>> folder_of(const std::string& name) const;
  Result<std::vector<lsmt::WritableStack::Layer>> open_layers(const std::vector<std::string>& names,
                                                              std::shared_ptr<const BlockReader> below) const;
  Result<lsmt::WritableStack::Layer> make(const UpperOptions& options,
                                          std::shared_ptr<const runtime::ImageDevice> image) const;
  void remove(std::span<const std::string> dropped) const;

  std::filesystem::path temporary_;  // to be removed; empty: none
  std::filesystem::path path_;
  Bytes limit_{};
  std::vector<std::string> went_on_in_;  // layers, as long as this was open
  std::shared_ptr<WritableFolder> folder_;
  std::shared_ptr<lsmt::WritableStack> stack_;
};

// Makes an empty layer within a folder of layers, for go_on_in(): for what a device holds that is to be that of the
// image whose top layer is `parent`. Its name is that of layer_name(). Errors: those of WritableLayer::create().
Result<std::unique_ptr<lsmt::WritableLayer>> make_next_layer(const std::filesystem::path& folder,
                                                             lsmt::WritableForm form, const lsmt::Uuid& parent,
                                                             std::shared_ptr<const BlockReader> device);
// One that nobody goes on in, and nobody has open, is gone.
void remove_next_layer(const std::filesystem::path& folder, const std::string& name);

}  // namespace dadi
