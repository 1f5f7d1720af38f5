// File systems that were not unmounted.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "libformat/base/result.h"

namespace dadi::attach {

// Repairs the ext4 file system of a block device that nobody uses, if it is marked as not unmounted, or as faulty: by
// e2fsck, which does first what is safe without asking (-p), and all that it would ask for (-y) if that is not enough.
// What was done is told to `note`. Whether anything was.
// Errors: host_lacks (e2fsck is not installed), corruption (it is faulty still), io.
Result<bool> repair_unclean(const std::string& device, const std::function<void(std::string_view)>& note);

// The program. Errors: host_lacks.
Result<std::string> find_e2fsck();

}  // namespace dadi::attach
