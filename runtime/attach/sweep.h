// Finding and finishing what killed processes left.
#pragma once

#include "runtime/attach/state_folder.h"

namespace dadi::attach {

// Removes what nobody can want any more: attachments that never came to be, devices without attachments, entries of
// another boot. Attachments whose dadid died stay, to be seen and detached.
// REQUIRES: the caller holds the folder's lock.
void sweep(const StateFolder& folder);

// Has requests fail that wait for another dadid in place of a dead one, so that the device can be unmounted.
// REQUIRES: the folder's lock. Errors: io.
Result<void> give_up(const DeviceFolder& device);

// Removes what a dead dadid left on the host, and its folder. REQUIRES: the folder's lock; the device is dead.
// Errors: busy, io.
Result<void> clean_up(const DeviceFolder& device);

// Ends the dadid of a device: it is asked to, and made to when it does not answer. Afterwards its folder is gone.
// REQUIRES: the folder's lock. Errors: busy (in use, and not lazy), exhausted and io (what was written could
// not be flushed: it goes on).
Result<void> end_device(const DeviceFolder& device, bool lazy);

}  // namespace dadi::attach
