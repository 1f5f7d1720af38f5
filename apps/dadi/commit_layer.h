// From a writable layer and the image below it to an image with one layer more: what `dadi commit` does, however it
// found the two.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "apps/dadi/new_image.h"
#include "apps/image/image_device.h"
#include "libformat/lsmt/sector_set.h"

namespace dadi {

struct CommitOptions {
  std::string message = {};                // for the layer and the image's history; "": none
  std::string created_by = "dadi commit";  // for the history
  oci::ConfigChanges config = {};
  unsigned squash = 0;  // topmost layers of the image that the new one takes the place of, too
};

// The device that a writable layer makes of the image below it.
struct ChangedDevice {
  std::shared_ptr<const BlockReader> device;
  lsmt::SectorSet written;       // that the layer holds
  lsmt::SectorSet altered = {};  // where it may be something else than what the layer holds
};

// Nothing more is read of it.
struct AllRead {
  const ChangedDevice& committed;
  std::optional<lsmt::Uuid> layer;  // that holds the difference; none: there is no difference
};

// An ext4 file system is whole when it was unmounted, or repaired. Whatever else is on the device is not looked at.
// Errors: corruption (it is not), those of the device.
Result<void> require_clean(const BlockReader& device, const ReadContext& context);

// Adds what `written`, on top of `below`, holds differently to the image in `image`, which is published: without the
// journal that its ext4 file system has, unless that of `below` has one, too, and without files that have no name any
// more. Both stay as they are, and nobody may write until `read` is called, whose failure is that of the whole. Of the
// base nothing is read but what was overwritten, ext4's descriptors and bitmaps, and the layers that the destination
// lacks. Without a difference there is no layer, which is noted. Returns the digest of the image's manifest.
//
// Errors: unsupported (`below` has no manifest); corruption (an ext4 file system that is not cleanly unmounted);
// invalid_argument (fewer layers than are to be squashed); those of NewImage and derive_image().
Result<Digest> commit_layer(Session& session, const OpenImage& below, const ChangedDevice& written, NewImage& image,
                            const CommitOptions& options, const std::function<Result<void>(const AllRead&)>& read);

}  // namespace dadi
