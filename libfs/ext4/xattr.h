// Extended attributes as ext4 keeps them: in the room that an inode leaves after its fields, and in a block that inodes
// with equal attributes may share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "libformat/base/result.h"

namespace dadi::fs {

// An attribute where it lies. Views are borrowed from the area.
struct RawXattr {
  std::uint8_t name_index = 0;
  std::string_view suffix;        // the name without the prefix that the index stands for
  std::uint32_t value_inode = 0;  // not 0: the value is in an inode of its own, and `value` is empty
  std::size_t value_offset = 0;   // in the area
  std::span<const std::byte> value;
  std::uint32_t hash = 0;
};

// Visits the attributes that begin at `first` of `area`, the bytes that offsets of values count from.
// REQUIRES: first <= area.size(). Returns where the list of entries ends, its terminator included.
// Errors: corruption (an entry or a value that is not within the area), those of the visitor.
Result<std::size_t> walk_xattrs(std::span<const std::byte> area, std::size_t first,
                                const std::function<Result<void>(const RawXattr&)>& visit);

// The area of an inode's own attributes: empty if it has none.
std::span<const std::byte> inode_xattr_area(std::span<const std::byte> raw_inode);

// What is wrong with an xattr block's header, if anything; its checksum is not looked at.
std::optional<std::string> xattr_block_problem(std::span<const std::byte> block);

// The hash that an entry carries. Names are hashed byte by byte, and old kernels took bytes above 127 for negative:
// `is_signed` computes theirs.
std::uint32_t xattr_hash(std::string_view suffix, std::span<const std::byte> value, bool is_signed);

// "user.x" of index 1 and suffix "x"; none for an index that stands for no name that userspace can see.
std::optional<std::string> xattr_name(std::uint8_t name_index, std::string_view suffix);

// The value as getxattr(2) returns it: that of a POSIX ACL is stored in a shorter form.
// Errors: corruption (a malformed ACL).
Result<std::string> xattr_value(std::uint8_t name_index, std::span<const std::byte> stored);

}  // namespace dadi::fs
