#include "libfs/check/block_set.h"

#include <algorithm>
#include <bit>

namespace dadi::fs {
namespace {

constexpr std::uint32_t kBits = 64;

// Bits [first, first + count) of a word. REQUIRES: 1 <= count, first + count <= 64.
std::uint64_t mask(std::uint32_t first, std::uint32_t count) {
  return ~std::uint64_t{0} >> (kBits - count) << first;
}

}  // namespace

BlockSet::BlockSet(const Superblock& superblock)
    : first_block_(superblock.first_data_block),
      end_block_(superblock.block_count),
      blocks_per_group_(superblock.blocks_per_group),
      groups_(superblock.group_count) {}

std::optional<std::uint64_t> BlockSet::add(std::uint64_t first, std::uint64_t count) {
  std::optional<std::uint64_t> known;
  while (count > 0) {
    const auto group = static_cast<std::uint32_t>((first - first_block_) / blocks_per_group_);
    const auto within = static_cast<std::uint32_t>((first - first_block_) % blocks_per_group_);
    const auto part = static_cast<std::uint32_t>(std::min<std::uint64_t>(count, blocks_per_group_ - within));
    const auto found = add_within(group, within, part);
    if (found && !known) known = first - within + *found;
    first += part;
    count -= part;
  }
  return known;
}

std::optional<std::uint32_t> BlockSet::add_within(std::uint32_t group, std::uint32_t first, std::uint32_t count) {
  Group& target = groups_[group];
  if (is_full(group)) return first;
  if (target.words.empty()) target.words.resize((blocks_per_group_ + kBits - 1) / kBits);
  std::optional<std::uint32_t> known;
  for (std::uint32_t at = first; at < first + count;) {
    const std::uint32_t bit = at % kBits;
    const std::uint32_t part = std::min(kBits - bit, first + count - at);
    std::uint64_t& word = target.words[at / kBits];
    const std::uint64_t added = mask(bit, part);
    if (const std::uint64_t both = word & added; both != 0 && !known)
      known = at - bit + static_cast<std::uint32_t>(std::countr_zero(both));
    target.count += static_cast<std::uint32_t>(std::popcount(added & ~word));
    word |= added;
    at += part;
  }
  if (is_full(group)) target.words = {};
  return known;
}

bool BlockSet::is_full(std::uint32_t group) const {
  const std::uint64_t begin = first_block_ + std::uint64_t{group} * blocks_per_group_;
  return groups_[group].count == std::min<std::uint64_t>(blocks_per_group_, end_block_ - begin);
}

bool BlockSet::contains(std::uint64_t block) const {
  const std::uint64_t within = (block - first_block_) % blocks_per_group_;
  const auto group = static_cast<std::uint32_t>((block - first_block_) / blocks_per_group_);
  return (word(group, within / kBits) >> (within % kBits) & 1) != 0;
}

std::uint64_t BlockSet::count() const {
  std::uint64_t sum = 0;
  for (const Group& group : groups_) sum += group.count;
  return sum;
}

std::uint64_t BlockSet::word(std::uint32_t group, std::size_t word) const {
  const Group& source = groups_[group];
  if (!source.words.empty()) return source.words[word];
  if (source.count == 0) return 0;
  // A full group ends where its last block does.
  const auto left = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(kBits, source.count - std::min<std::uint64_t>(source.count, word * kBits)));
  return left == 0 ? 0 : mask(0, left);
}

}  // namespace dadi::fs
