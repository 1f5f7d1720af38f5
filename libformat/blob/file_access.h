// What reads and writes of files have in common: all of the bytes, or an error that names the file.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi {

// Errors: io (the file ends before), what errno means.
Result<void> read_all(int fd, Bytes offset, std::span<std::byte> out, const std::string& name);

// The whole of `out` from the page cache, without waiting. Errors: would_block, whatever kept it: a read that may wait
// finds out, and says so.
Result<void> read_cached(int fd, Bytes offset, std::span<std::byte> out);

Result<void> write_all(int fd, Bytes offset, std::span<const std::byte> data, const std::string& name);

}  // namespace dadi
