// Being there for an attachment whose dadid dies.
#pragma once

#include <optional>
#include <string>

#include "libformat/base/result.h"
#include "runtime/attach/file_lock.h"
#include "runtime/attach/state_folder.h"

namespace dadi {

// A device without a dadid, locked for this process to serve.
struct Orphan {
  attach::DeviceFolder device;
  attach::FileLock lock;
  UniqueFd control;
};

// Waits until the dadid of the attachment is gone, if there is one. Nothing, when the attachment is gone, too: it was
// detached. Errors: not_found (nothing is attached so), unsupported (its device does not survive its dadid), io.
Result<std::optional<Orphan>> wait_for_orphan(const std::string& name);

}  // namespace dadi
