#include "libfs/check/state.h"

#include <algorithm>

namespace dadi::fs {

bool CheckState::claim(const Place& place, std::uint64_t first, std::uint64_t count) {
  const auto known = used_blocks.add(first, count);
  if (known) findings.fault(place, "block {} is in use for something else too", *known);
  return !known;
}

InodeRecord* CheckState::find(InodeNumber number) {
  const auto found = std::ranges::lower_bound(inodes, number, {}, &InodeRecord::number);
  return found != inodes.end() && found->number == number ? &*found : nullptr;
}

}  // namespace dadi::fs
