// One entry as libarchive tells it, together with its raw headers, in terms of ours.
#pragma once

#include "libfs/archive_headers.h"
#include "libfs/layer_archive.h"

struct archive_entry;

namespace dadi::fs {

// The entry's name: that of its pax records before any other, byte for byte. Empty if it has none.
std::string entry_path(archive_entry* raw, const EntryHeaders& headers);

// What `raw` and `headers`, both of the same entry, say. Errors do not name the entry: corruption (what it says
// contradicts itself), unsupported (what no file system of ours can hold, types of entries that are no files).
Result<ArchiveEntry> translate_entry(archive_entry* raw, const EntryHeaders& headers);

}  // namespace dadi::fs
