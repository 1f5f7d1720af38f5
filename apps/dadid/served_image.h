// Which image a device is made of, now.
#pragma once

#include "apps/image/image_place.h"
#include "runtime/attach/state_folder.h"

namespace dadi {

// What was asked for; or, of a device that has been there before, what its writable layers lie on: `commit --live` may
// have made an image of what was written until then. Errors: those of the folder; invalid_argument, corruption.
Result<ImagePlace> served_image(const attach::DeviceFolder& folder, const attach::DeviceSpec& spec);

// What its writable layers say, which another process may have open; 0: nothing.
Result<Bytes> size_of_layers(const attach::WritableSpec& spec);

}  // namespace dadi
