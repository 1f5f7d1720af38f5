// Decoding inodes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "libformat/base/result.h"
#include "libfs/ext4/superblock.h"
#include "libfs/ext4/volume.h"

namespace dadi::fs {

// What kind of file a mode stands for; none if it stands for none.
std::optional<FileType> file_type_of_mode(std::uint16_t mode);

// What a directory entry says of an inode of that kind: file_type::… of layout.h.
std::uint8_t directory_file_type(FileType type);

// Bytes of an inode that belong to fields, up to `extra_size` past the first 128, as it states; the rest may hold
// xattrs. A size that the inode cannot have counts as none.
std::size_t inode_fields_size(std::span<const std::byte> raw);

// The inode in `raw`, as large as the file system's inodes are. A mode without a kind is decoded as a regular file;
// its checksum is not looked at.
Inode decode_inode(const Superblock& superblock, InodeNumber number, std::span<const std::byte> raw);

// Whether a symlink's target is kept in the inode itself.
bool is_short_symlink(const Inode& inode);

// Whether the inode carries the checksum that it should; true where the file system has none.
bool inode_checksum_holds(const Superblock& superblock, InodeNumber number, std::span<const std::byte> raw);

}  // namespace dadi::fs
