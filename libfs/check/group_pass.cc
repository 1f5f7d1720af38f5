#include <algorithm>

#include "libformat/base/endian.h"
#include "libfs/check/state.h"
#include "libfs/ext4/checksum.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

// Whether [first, first + count) can hold a part of group `group`: without the flex_bg feature only its own blocks can.
bool may_hold(const CheckState& state, std::uint32_t group, std::uint64_t first, std::uint64_t count) {
  const Superblock& sb = state.superblock();
  if (!state.image.holds(first, count)) return false;
  if (sb.has_incompatible(layout::incompatible::kFlexGroups)) return true;
  const std::uint64_t begin = sb.group_first_block(group);
  return first >= begin && first + count <= begin + sb.group_block_count(group);
}

void check_numbers(CheckState& state, std::uint32_t number, const GroupDescriptor& group) {
  const Superblock& sb = state.superblock();
  const Place place = Place::group(number);
  if (group.free_blocks > sb.group_block_count(number))
    state.findings.fault(place, "{} free blocks of {}", group.free_blocks, sb.group_block_count(number));
  if (group.free_inodes > sb.inodes_per_group || group.directories > sb.inodes_per_group ||
      group.unused_inodes > sb.inodes_per_group)
    state.findings.fault(place, "{} inodes: {} free, {} unused, {} directories", sb.inodes_per_group, group.free_inodes,
                         group.unused_inodes, group.directories);
  const std::uint16_t uninitialized = layout::group::kInodesUninitialized | layout::group::kBlocksUninitialized;
  if (!sb.has_group_checksums() && (group.has(uninitialized) || group.unused_inodes != 0))
    state.findings.fault(place, "parts are marked as never initialised, without a feature that allows it");
  if (number + 1 == sb.group_count && group.has(layout::group::kBlocksUninitialized))
    state.findings.fault(place, "the last group's block bitmap is marked as never initialised");
}

void check_places(CheckState& state, std::uint32_t number, const GroupDescriptor& group) {
  const Superblock& sb = state.superblock();
  const Place place = Place::group(number);
  const auto check_part = [&](const char* what, std::uint64_t first, std::uint64_t count) {
    if (may_hold(state, number, first, count)) {
      if (const auto known = state.used_blocks.add(first, count))
        state.findings.fault(place, "its {} at block {}: block {} is in use for something else too", what, first,
                             *known);
      return;
    }
    state.findings.fault(place, "its {} cannot be at block {}", what, first);
    state.group_is_readable[number] = false;
  };
  check_part("block bitmap", group.block_bitmap, 1);
  check_part("inode bitmap", group.inode_bitmap, 1);
  check_part("inode table", group.inode_table, sb.inode_table_blocks());
}

// The blocks at the beginning of groups: superblock, group descriptors and room for more of them.
void claim_heads(CheckState& state) {
  const Superblock& sb = state.superblock();
  for (std::uint32_t number = 0; number < sb.group_count; ++number) {
    if (!sb.group_has_superblock(number)) continue;
    const std::uint64_t head = 1 + std::uint64_t{sb.descriptor_blocks()} + sb.reserved_gdt_blocks;
    const std::uint64_t room = sb.group_block_count(number);
    if (head > room) state.findings.fault(Place::group(number), "no room for a copy of the group descriptors");
    state.claim(Place::group(number), sb.group_first_block(number), std::min(head, room));
  }
}

}  // namespace

Result<void> check_group_descriptors(CheckState& state) {
  const Superblock& sb = state.superblock();
  state.groups.reserve(sb.group_count);
  state.group_is_readable.assign(sb.group_count, true);
  claim_heads(state);
  std::vector<std::byte> block(sb.block_size);
  const std::uint32_t per_block = sb.block_size / sb.descriptor_size;
  for (std::uint32_t number = 0; number < sb.group_count; ++number) {
    if (number % per_block == 0)
      DADI_CHECK(state.image.read(std::uint64_t{sb.first_data_block} + 1 + number / per_block, block));
    const auto raw = std::span<const std::byte>(block).subspan(std::size_t{number % per_block} * sb.descriptor_size,
                                                               sb.descriptor_size);
    const GroupDescriptor group = GroupDescriptor::parse(sb, raw);
    if (sb.has_group_checksums() && group.checksum != checksum::group_descriptor(sb, number, raw))
      state.findings.fault(Place::group(number), "the descriptor does not match its checksum");
    check_numbers(state, number, group);
    check_places(state, number, group);
    state.groups.push_back(group);
  }
  return {};
}

}  // namespace dadi::fs
