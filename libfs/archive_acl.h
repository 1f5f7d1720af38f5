// POSIX access control lists: from the text of SCHILY.acl.* pax records to the attribute that the kernel keeps.
// Formats: acl(5) for the text, with star's fourth field (the number of a named user or group); the kernel's
// include/uapi/linux/posix_acl_xattr.h, version 2, for the attribute.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "libformat/base/result.h"

namespace dadi::fs {

// The value of system.posix_acl_access or _default that says what `text` says; none when it says no more than a mode's
// permission bits do (or nothing). Entries are separated by commas or lines, in any order.
// A minimal list matters as a directory's default: with `keep_minimal` it has a value like every other.
// Errors: corruption (malformed; entries missing or twice), unsupported (a user or group by name, without a number).
Result<std::optional<std::string>> posix_acl_from_text(std::string_view text, bool keep_minimal);

}  // namespace dadi::fs
