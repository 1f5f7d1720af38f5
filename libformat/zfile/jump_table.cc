#include "libformat/zfile/jump_table.h"

#include <algorithm>

namespace dadi::zfile {

void JumpTable::reserve(std::uint64_t blocks) {
  bases_.reserve(divide_up(blocks, kGroup));
  relative_.reserve(blocks);
}

void JumpTable::add(std::uint32_t length) {
  if (relative_.size() % kGroup == 0) bases_.push_back(end_.value);
  relative_.push_back(static_cast<std::uint32_t>(end_.value - bases_.back()));
  end_ += Bytes{length};
  longest_ = std::max(longest_, length);
}

Bytes JumpTable::offset(std::uint64_t block) const {
  if (block == blocks()) return end_;
  return {bases_[block / kGroup] + relative_[block]};
}

}  // namespace dadi::zfile
