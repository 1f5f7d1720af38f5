#include <algorithm>
#include <bit>

#include "libformat/base/endian.h"
#include "libfs/check/state.h"
#include "libfs/ext4/checksum.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

// A bitmap of one group, in words of 64 bits.
using Words = std::vector<std::uint64_t>;

void set_bit(Words& words, std::uint64_t bit) {
  words[bit / 64] |= std::uint64_t{1} << bit % 64;
}

// Tells where the bitmap on disk and what was found in use differ.
void compare(CheckState& state, const Place& place, const char* what, std::uint64_t first, const Words& disk,
             const Words& found) {
  std::uint64_t missing = 0;
  std::uint64_t stray = 0;
  std::optional<std::uint64_t> where;
  for (std::size_t i = 0; i < disk.size(); ++i) {
    missing += static_cast<std::uint64_t>(std::popcount(found[i] & ~disk[i]));
    stray += static_cast<std::uint64_t>(std::popcount(disk[i] & ~found[i]));
    if (!where && disk[i] != found[i])
      where = first + i * 64 + static_cast<std::uint64_t>(std::countr_zero(disk[i] ^ found[i]));
  }
  if (where)
    state.findings.fault(place, "the {} bitmap: {} in use are not marked, {} marked are not in use, from {} on", what,
                         missing, stray, *where);
}

struct BitmapOnDisk {
  const char* what;
  std::uint64_t block = 0;
  std::uint32_t checksum = 0;   // as stated
  std::uint32_t bits = 0;       // that stand for something in this group
  std::uint32_t full_bits = 0;  // that stand for something in a whole group
};

// Reads a bitmap and checks its checksum and the bits that stand for nothing, which are set.
Result<Words> read_bitmap(CheckState& state, const Place& place, const BitmapOnDisk& bitmap) {
  DADI_TRY(const auto block, state.image.read_block(bitmap.block));
  const Superblock& sb = state.superblock();
  if (sb.has_metadata_checksums()) {
    std::uint32_t wanted = checksum::bitmap(sb, std::span(block).first(bitmap.full_bits / 8));
    if (sb.descriptor_size < 64) wanted &= 0xFFFF;
    if (wanted != bitmap.checksum)
      state.findings.fault(place, "the {} bitmap does not match its checksum", bitmap.what);
  }
  Words words(divide_up(bitmap.bits, 64));
  bool is_padded = true;
  for (std::size_t bit = 0; bit < block.size() * 8; bit += 64) {
    const auto word = load_le<std::uint64_t>(block, bit / 8);
    const std::uint64_t inside = bit >= bitmap.bits        ? 0
                                 : bit + 64 <= bitmap.bits ? ~std::uint64_t{0}
                                                           : (std::uint64_t{1} << (bitmap.bits - bit)) - 1;
    if (inside != 0) words[bit / 64] = word & inside;
    is_padded = is_padded && (word | inside) == ~std::uint64_t{0};
  }
  if (!is_padded) state.findings.fault(place, "the {} bitmap is not padded with ones", bitmap.what);
  return words;
}

// The bitmap of a group whose own is not initialised: what the group's own structures take.
Words implied_blocks(const CheckState& state, std::uint32_t number) {
  const Superblock& sb = state.superblock();
  const GroupDescriptor& group = state.groups[number];
  const std::uint64_t begin = sb.group_first_block(number);
  const std::uint64_t end = begin + sb.group_block_count(number);
  Words words(divide_up(end - begin, 64));
  const auto mark = [&](std::uint64_t first, std::uint64_t count) {
    for (std::uint64_t block = std::max(first, begin); block < std::min(first + count, end); ++block)
      set_bit(words, block - begin);
  };
  if (sb.group_has_superblock(number)) mark(begin, 1 + std::uint64_t{sb.descriptor_blocks()} + sb.reserved_gdt_blocks);
  mark(group.block_bitmap, 1);
  mark(group.inode_bitmap, 1);
  mark(group.inode_table, sb.inode_table_blocks());
  return words;
}

Result<void> check_block_bitmap(CheckState& state, std::uint32_t number) {
  const Superblock& sb = state.superblock();
  const GroupDescriptor& group = state.groups[number];
  const Place place = Place::group(number);
  const std::uint32_t blocks = sb.group_block_count(number);
  const std::uint32_t free = blocks - state.used_blocks.count_in_group(number);
  if (group.free_blocks != free)
    state.findings.fault(place, "{} blocks are free, but it says {}", free, group.free_blocks);
  if (!state.group_is_readable[number]) return {};

  Words found(divide_up(blocks, 64));
  for (std::size_t i = 0; i < found.size(); ++i) found[i] = state.used_blocks.word(number, i);
  Words disk;
  if (sb.has_group_checksums() && group.has(layout::group::kBlocksUninitialized)) {
    disk = implied_blocks(state, number);
  } else {
    DADI_TRY(disk, read_bitmap(state, place,
                               {.what = "block",
                                .block = group.block_bitmap,
                                .checksum = group.block_bitmap_checksum,
                                .bits = blocks,
                                .full_bits = sb.blocks_per_group}));
  }
  compare(state, place, "block", sb.group_first_block(number), disk, found);
  return {};
}

// What of a group's inodes was found in use; `next` is the first record of the group, and then that of the next one.
struct InodeUse {
  Words words;
  std::uint32_t count = 0;
  std::uint32_t directories = 0;
};

InodeUse take_group(const CheckState& state, std::uint32_t number, std::size_t& next) {
  const Superblock& sb = state.superblock();
  const std::uint32_t first = number * sb.inodes_per_group + 1;
  InodeUse use;
  use.words.resize(divide_up(sb.inodes_per_group, 64));
  const auto mark = [&](InodeNumber inode) {
    set_bit(use.words, inode - first);
    ++use.count;
  };
  // The first inodes are taken, in use or not.
  for (InodeNumber inode = first; inode < sb.first_inode && inode - first < sb.inodes_per_group; ++inode) mark(inode);
  for (; next < state.inodes.size() && state.inodes[next].number - first < sb.inodes_per_group; ++next) {
    const InodeRecord& inode = state.inodes[next];
    if (inode.number >= sb.first_inode) mark(inode.number);
    if (inode.type == FileType::kDirectory) ++use.directories;
  }
  return use;
}

Result<void> check_inode_bitmap(CheckState& state, std::uint32_t number, const InodeUse& use) {
  const Superblock& sb = state.superblock();
  const GroupDescriptor& group = state.groups[number];
  const Place place = Place::group(number);
  if (group.free_inodes != sb.inodes_per_group - use.count)
    state.findings.fault(place, "{} inodes are free, but it says {}", sb.inodes_per_group - use.count,
                         group.free_inodes);
  if (group.directories != use.directories)
    state.findings.fault(place, "{} directories, but it says {}", use.directories, group.directories);
  if (!state.group_is_readable[number]) return {};

  Words disk(use.words.size());
  if (!sb.has_group_checksums() || !group.has(layout::group::kInodesUninitialized)) {
    DADI_TRY(disk, read_bitmap(state, place,
                               {.what = "inode",
                                .block = group.inode_bitmap,
                                .checksum = group.inode_bitmap_checksum,
                                .bits = sb.inodes_per_group,
                                .full_bits = sb.inodes_per_group}));
  }
  compare(state, place, "inode", std::uint64_t{number} * sb.inodes_per_group + 1, disk, use.words);
  return {};
}

// The totals of the superblock. The reference tools leave them as mkfs wrote them, and the kernel recounts on mount.
void note_stale_totals(CheckState& state) {
  const Superblock& sb = state.superblock();
  const std::uint64_t free_blocks = state.facts.blocks - state.facts.blocks_used;
  const std::uint32_t free_inodes = state.facts.inodes - state.facts.inodes_used;
  if (sb.free_block_count != free_blocks)
    state.findings.note(Place::superblock(), "its total of free blocks is stale: {}, not {}", sb.free_block_count,
                        free_blocks);
  if (sb.free_inode_count != free_inodes)
    state.findings.note(Place::superblock(), "its total of free inodes is stale: {}, not {}", sb.free_inode_count,
                        free_inodes);
}

}  // namespace

Result<void> check_bitmaps(CheckState& state) {
  const Superblock& sb = state.superblock();
  std::size_t next = 0;
  for (std::uint32_t number = 0; number < sb.group_count; ++number) {
    DADI_CHECK(check_block_bitmap(state, number));
    const InodeUse use = take_group(state, number, next);
    DADI_CHECK(check_inode_bitmap(state, number, use));
    state.facts.inodes_used += use.count;
  }
  state.facts.block_size = {sb.block_size};
  state.facts.blocks = sb.block_count - sb.first_data_block;
  state.facts.blocks_used = state.used_blocks.count();
  state.facts.inodes = sb.inode_count;
  note_stale_totals(state);
  return {};
}

}  // namespace dadi::fs
