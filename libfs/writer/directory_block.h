// One block of directory entries (a leaf), as ext4 lays it out: records of inode, record length, name length, type and
// name that fill the block, with a checksum record at the end where the file system has checksums.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "libfs/writer/inode_table.h"

namespace dadi::fs {

struct LeafEntry {
  std::string_view name;
  InodeNumber inode = 0;
  std::uint8_t type = 0;
};

// The room that an entry with a name of this length takes.
constexpr std::size_t entry_room(std::size_t name_length) {
  return (8 + name_length + 3) / 4 * 4;
}

// Operations on one leaf's bytes. A view: copies refer to the same block.
class DirectoryLeaf {
 public:
  DirectoryLeaf(std::span<std::byte, kBlockSize> block, bool checksums)
      : block_(block), capacity_(kBlockSize - (checksums ? kTailSize : 0)) {}

  static constexpr std::size_t kTailSize = 12;
  std::size_t capacity() const { return capacity_; }

  // An empty block: one unused record. The checksum record's frame is set, the checksum is not.
  void clear();

  // Calls `each` for every entry in use, in order. Errors: corruption (records or names that cannot be); those of
  // `each`.
  Result<void> visit(const std::function<Result<void>(const LeafEntry&)>& each) const;

  // Puts an entry into the first gap that holds it. False: there is none. REQUIRES: visit() succeeds.
  bool insert(const LeafEntry& entry);

  // insert() into a leaf that was cleared, and has changed since by nothing but this, through this view: its only gap
  // is at the end, and need not be looked for.
  bool append(const LeafEntry& entry);

  // Errors: internal (no such name).
  Result<void> remove(std::string_view name);
  Result<void> retarget(std::string_view name, InodeNumber inode, std::uint8_t type);

 private:
  struct Found {
    std::size_t at;
    std::size_t before;  // the record in front; itself when first
  };
  Result<Found> find(std::string_view name) const;
  std::size_t record_length(std::size_t at) const;
  void store(std::size_t at, std::size_t length, const LeafEntry& entry);
  bool insert_from(std::size_t at, const LeafEntry& entry);

  std::span<std::byte, kBlockSize> block_;
  std::size_t capacity_;
  std::size_t last_ = 0;  // where append() put the last entry
};

}  // namespace dadi::fs
