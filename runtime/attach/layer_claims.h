// Which device has which writable layer. A layer has one device, which has one attachment.
#pragma once

#include "libformat/base/result.h"
#include "runtime/attach/state_folder.h"

namespace dadi::attach {

// Whether a new device can have the layer that is wanted, if one is. A dead device whose users wait for a successor
// keeps its own: it would go on with what another has changed below it. REQUIRES: the folder's lock. Errors: busy.
Result<void> require_free_layer(const StateFolder& folder, const DeviceSpec& wanted);

// Whether a device that is asked for can take the place of the dead one of that attachment: nothing may be lost, and
// nothing written to, that its user does not name. Errors: busy (hint: what to do).
Result<void> require_same_layer(const Attachment& dead, const DeviceSpec& before, const DeviceSpec& wanted);

}  // namespace dadi::attach
