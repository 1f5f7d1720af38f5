// What is said of a file in an image, in words and in JSON.
#pragma once

#include <string>
#include <string_view>

#include "apps/dadi/session.h"
#include "libfs/layer_archive.h"

namespace dadi {

// "file", "directory", "symlink", "character-device", "block-device", "fifo", "socket".
std::string_view name_of(fs::FileType type);

// As ls -l has it: "drwxr-sr-t".
std::string mode_text(const fs::Attributes& attributes);

// For people, in their time zone: "2024-01-05 12:34".
std::string local_time(const fs::Timestamp& time);

// RFC 3339, in UTC, to the nanosecond: "2024-01-05T12:34:56.000000001Z".
std::string rfc3339(const fs::Timestamp& time);

// Type, mode, owner, time and device numbers.
Json attributes_json(const fs::Attributes& attributes);

}  // namespace dadi
