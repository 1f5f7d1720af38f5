// The backend for hosts without the nbd module: a file system of one file, served by this process through FUSE, and a
// loop device over that file. The device does not survive its process: reads then fail with EIO.
//
// Neither leaves anything behind when the process is killed. The FUSE mount is attached to no folder, so it goes with
// the last that has its file open; and the loop device is set to clear itself when nobody has it open, which this
// process has.
#pragma once

#include "runtime/attach/backend.h"

namespace dadi::attach {

Result<void> probe_fuse_loop();
Result<std::unique_ptr<HostDevice>> create_fuse_loop(HostDeviceRequest request);
Result<void> clean_up_fuse_loop(const Json& state);

}  // namespace dadi::attach
