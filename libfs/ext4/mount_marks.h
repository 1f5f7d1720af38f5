// What mounting alone leaves in a superblock: when and where it was mounted, how often, and when it was written to.
#pragma once

#include "libformat/blob/block_reader.h"
#include "libformat/blob/block_writer.h"

namespace dadi::fs {

// Gives these fields of the superblock on `device`, which `writer` writes to, the values that they have on `before`, an
// earlier state of the same file system. A file system in which nothing was done between mounting and unmounting is
// then as it was. A device with anything else than ext4 is left as it is.
// REQUIRES: the file system is not mounted. Errors: those of the devices.
Result<void> forget_mount(const BlockReader& before, const BlockReader& device, BlockWriter& writer,
                          const ReadContext& context);

}  // namespace dadi::fs
