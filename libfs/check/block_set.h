// A set of blocks of a file system, group by group: a bit a block, in groups that are neither empty nor full.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "libfs/ext4/superblock.h"

namespace dadi::fs {

// One thread at a time.
class BlockSet {
 public:
  explicit BlockSet(const Superblock& superblock);

  // Adds [first, first + count) and returns the first block that was in the set already, if any.
  // REQUIRES: these are blocks of the file system, first_data_block and later.
  std::optional<std::uint64_t> add(std::uint64_t first, std::uint64_t count);

  bool contains(std::uint64_t block) const;

  // Blocks of the set in group `group`, and in all.
  std::uint32_t count_in_group(std::uint32_t group) const { return groups_[group].count; }
  std::uint64_t count() const;

  // 64 blocks of a group, from block 64 * word of it on, the first in the lowest bit.
  std::uint64_t word(std::uint32_t group, std::size_t word) const;

 private:
  struct Group {
    std::uint32_t count = 0;
    std::vector<std::uint64_t> words;  // empty while the group is empty, and once it is full
  };

  std::optional<std::uint32_t> add_within(std::uint32_t group, std::uint32_t first, std::uint32_t count);
  bool is_full(std::uint32_t group) const;

  std::uint64_t first_block_;
  std::uint64_t end_block_;
  std::uint32_t blocks_per_group_;
  std::vector<Group> groups_;
};

}  // namespace dadi::fs
