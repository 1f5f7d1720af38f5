// An ext4 file system that is made as large as the device it is on.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "libformat/blob/block_reader.h"
#include "libformat/blob/block_writer.h"

namespace dadi {

// Has resize2fs grow the file system of `device`, which `writer` writes to, to the device's size. It is read and
// written through FUSE: only what is looked at is read. The times that it writes are that of the last write to the file
// system, so what becomes of it depends on what it was, on the size, and on the version of resize2fs. When it ends all
// is flushed. Errors: host_lacks (resize2fs is not installed, hint; no FUSE), denied (FUSE is root's, hint),
// unsupported (resize2fs refuses, its words), cancelled, io.
Result<void> grow_file_system(const std::shared_ptr<const BlockReader>& device,
                              const std::shared_ptr<BlockWriter>& writer, const std::stop_token& stop);

// Whether the program is there, before anything else is done. Errors: host_lacks.
Result<std::string> find_resize2fs();

}  // namespace dadi
