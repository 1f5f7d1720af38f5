// Blocks of metadata in memory, by number. They are kept compressed: a small directory's block is nearly all zeros, and
// inodes of one tree resemble each other, so that an image of a million files fits where its blocks would not.
#pragma once

#include <memory>
#include <unordered_map>
#include <vector>

#include "libfs/writer/block.h"

namespace dadi::fs {

// One thread at a time. Numbers are the caller's: of blocks on a device, or of inodes.
class BlockStore {
 public:
  // In place of what the number had.
  void put(std::uint64_t number, const Block& block);
  // False, and `out` is left alone: there is no such block.
  bool get(std::uint64_t number, Block& out) const;
  bool contains(std::uint64_t number) const { return blocks_.contains(number); }

  // As put() of the block that `other` has under this number, and loses. REQUIRES: it has one.
  void take(std::uint64_t number, BlockStore& other);

  void erase(BlockRange range);
  void clear() { blocks_.clear(); }
  // Takes all blocks of `other`, in place of those with the same numbers.
  void merge(BlockStore&& other);

  bool empty() const { return blocks_.empty(); }
  // All of them, ascending.
  std::vector<std::uint64_t> numbers() const;

 private:
  // Two bytes of length, then so much: of a block as it is if the length is a block's, else compressed.
  using Packed = std::unique_ptr<std::byte[]>;

  std::unordered_map<std::uint64_t, Packed> blocks_;
};

}  // namespace dadi::fs
