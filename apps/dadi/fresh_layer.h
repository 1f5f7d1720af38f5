// How an attachment goes on in a fresh layer while what was written so far becomes an image: `dadi commit --live`.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "apps/dadi/commit_layer.h"
#include "apps/dadi/session.h"
#include "apps/image/image_place.h"

namespace dadi {

// A device that a dadid serves, and which is written to.
struct WrittenDevice {
  std::filesystem::path control;  // dadid's socket
  std::filesystem::path folder;   // of its writable layers
  std::string form;               // of a new one
  std::shared_ptr<const BlockReader> content;
};

// Has dadid put a layer on top of those in the folder. On the image that is being made of them it makes the device what
// it is: it begins with what the image leaves out, such as a journal. Returns its name.
// REQUIRES: nobody writes to the device, and `read.layer`. Errors: those of the folder and of dadid; with any, the
// device goes on in the layer that it has.
Result<std::string> go_on_in_fresh_layer(Session& session, const WrittenDevice& device, const AllRead& read);

// The image is there, so the layer lies on it from the next opening on, and those below the layer are deleted.
// Errors: those of dadid; what is in the folder is whole all the same.
Result<void> put_on_image(Session& session, const WrittenDevice& device, const std::string& layer,
                          const ImagePlace& image);

}  // namespace dadi
