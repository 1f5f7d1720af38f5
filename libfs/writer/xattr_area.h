// Extended attributes as ext4 stores them: behind the inode's fixed part, and in one block beside it.
#pragma once

#include <optional>
#include <span>

#include "libfs/layer_archive.h"
#include "libfs/writer/layer_device.h"

namespace dadi::fs {

struct EncodedXattrs {
  std::vector<std::byte> in_inode;  // for the room behind the fixed part; empty: none
  std::optional<Block> block;       // its checksum not yet set
};

// Packs attributes into `inode_room` bytes of inode and, for what does not fit there, one block. POSIX ACLs change from
// the form of the system calls to ext4's own.
// Errors: unsupported (a name space that ext4 does not know, or more than it can hold); invalid_argument (a malformed
// ACL).
Result<EncodedXattrs> encode_xattrs(const Xattrs& xattrs, std::size_t inode_room);

}  // namespace dadi::fs
