// Journals for file systems that have none.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi::attach {

// Has tune2fs put a journal into the ext4 file system of a block device that nobody uses, unless it has one. Its size
// is a 64th of the file system's, and not much of `limit`, which is what the writable layer may take (0: no limit); but
// 4 MiB to 64 MiB. What was done is told to `note`.
// Errors: host_lacks (tune2fs is not installed), unsupported (no ext4; tune2fs refuses, its words), corruption (not
// cleanly unmounted), io.
Result<void> put_journal(const std::string& device, Bytes limit, const std::function<void(std::string_view)>& note);

}  // namespace dadi::attach
