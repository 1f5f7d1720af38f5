// Where each block of a ZFile is stored. Format: formats.md, section 2.3.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "libformat/base/units.h"

namespace dadi::zfile {

// Offsets of consecutive blocks, from their lengths: 4.1 bytes a block, constant time. Thread-compatible.
class JumpTable {
 public:
  // `start`: where the first block is stored.
  explicit JumpTable(Bytes start) : end_(start) {}

  void reserve(std::uint64_t blocks);

  // REQUIRES: length is at most 2^25, so that a group's offsets fit.
  void add(std::uint32_t length);

  std::uint64_t blocks() const { return relative_.size(); }
  Bytes end() const { return end_; }  // of the last block
  std::uint32_t longest() const { return longest_; }

  // Where `block` begins. REQUIRES: block <= blocks(); that of blocks() is end().
  Bytes offset(std::uint64_t block) const;

 private:
  static constexpr std::uint64_t kGroup = 64;  // blocks that share a base

  std::vector<std::uint64_t> bases_;     // of each group, in bytes
  std::vector<std::uint32_t> relative_;  // of each block, from its group's base
  Bytes end_;
  std::uint32_t longest_ = 0;
};

}  // namespace dadi::zfile
