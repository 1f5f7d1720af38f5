// How an attachment goes on in a fresh layer while what was written so far becomes an image: `dadi commit --live`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "apps/dadi/commit_layer.h"
#include "apps/dadi/session.h"
#include "apps/image/image_place.h"
#include "libformat/lsmt/writable_layer.h"

namespace dadi {

// What a dadid says of what is written to its device. What is looked at from then on is what there is after so many
// changes, if nobody writes meanwhile.
struct WrittenState {
  std::uint64_t changes = 0;
  lsmt::WritableForm form{};  // of the layer that is written to
};

// Errors: those of dadid.
Result<WrittenState> written_state(Session& session, const std::filesystem::path& control);

// A device that a dadid serves, and which is written to.
struct WrittenDevice {
  std::filesystem::path control;  // dadid's socket
  std::filesystem::path folder;   // of its writable layers
  std::shared_ptr<const BlockReader> content;
  WrittenState state;  // before that was looked at
};

// Has dadid put a layer on top of those in the folder, unless the device was written to. On the image that is being
// made of them it makes the device what it is: it begins with what the image leaves out, such as a journal. Returns its
// name. REQUIRES: `read.layer`. Errors: busy (it was written to), those of the folder and of dadid. If dadid does not
// answer in time, it may go on in that layer all the same, and nothing is lost.
Result<std::string> go_on_in_fresh_layer(Session& session, const WrittenDevice& device, const AllRead& read);

// The image, whose top layer is `top`, is there and can be opened, so the layer lies on it from the next opening on,
// and those below the layer are deleted. Errors: those of opening it and of dadid; the folder is as it was then, and
// whole.
Result<void> put_on_image(Session& session, const WrittenDevice& device, const std::string& layer,
                          const ImagePlace& image, const lsmt::Uuid& top);

}  // namespace dadi
