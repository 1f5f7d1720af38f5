// One entry as libarchive tells it, together with its raw headers, in terms of ours.
#pragma once

#include <string_view>

#include "libfs/archive_headers.h"
#include "libfs/layer_archive.h"

struct archive_entry;

namespace dadi::fs {

// The entry's name: that of its pax records before any other, byte for byte. Empty if it has none. A part of `raw`, or
// of the headers.
std::string_view entry_path(archive_entry* raw, const EntryHeaders& headers);

// What `raw` and `headers`, both of the same entry, say, into `entry`, whose path is that already; the rest of it is
// replaced. Errors do not name the entry: corruption (what it says contradicts itself), unsupported (what no file
// system of ours can hold, types of entries that are no files).
Result<void> translate_entry(archive_entry* raw, const EntryHeaders& headers, ArchiveEntry& entry);

}  // namespace dadi::fs
