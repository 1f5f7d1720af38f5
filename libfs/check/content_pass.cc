// Inodes' content: which blocks it has, and whether that agrees with what the inode says of its size.
#include <algorithm>
#include <cstring>

#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"
#include "libfs/check/state.h"
#include "libfs/ext4/block_map.h"
#include "libfs/ext4/inode.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

// What a block map came to.
struct Blocks {
  std::uint64_t count = 0;        // content and map
  std::uint64_t end = 0;          // of the file: after the last allocated block
  std::uint64_t written_end = 0;  // after the last that is not unwritten
  std::uint64_t first_physical = 0;
  bool are_shared = false;  // some are in use for something else
};

Result<Blocks> claim_blocks(CheckState& state, const Inode& inode) {
  const Place place = Place::of_inode(inode.number);
  const bool is_directory = inode.attributes.type == FileType::kDirectory;
  Blocks blocks;
  BlockMapEvents events;
  events.data = [&](const FileExtent& run) -> Result<void> {
    if (!state.claim(place, run.physical, run.count)) blocks.are_shared = true;
    if (blocks.count == 0 || run.logical == 0) blocks.first_physical = run.physical;
    blocks.count += run.count;
    blocks.end = run.logical + run.count;
    if (!run.unwritten) blocks.written_end = blocks.end;
    if (run.unwritten && is_directory)
      state.findings.fault(place, "block {} of the directory is unwritten", run.logical);
    return {};
  };
  events.map_block = [&](std::uint64_t block) -> Result<bool> {
    ++blocks.count;
    if (state.claim(place, block, 1)) return true;
    blocks.are_shared = true;
    return false;  // so that a part of a map is walked once, however often it is referred to
  };
  events.fault = [&](const Error& error) -> Result<void> {
    state.findings.fault(place, "{}", error.message());
    return {};
  };
  DADI_CHECK(walk_block_map(state.image, inode, {}, events));
  return blocks;
}

void check_allocated(CheckState& state, const Inode& inode, std::uint64_t blocks) {
  const Bytes found = {(blocks + (inode.xattr_block != 0 ? 1 : 0)) * state.superblock().block_size};
  if (inode.allocated != found)
    state.findings.fault(Place::of_inode(inode.number), "{} bytes are allocated to it, but it says {}", found.value,
                         inode.allocated.value);
}

// The largest file that direct and indirect blocks can map.
std::uint64_t largest_indirect(std::uint64_t block_size) {
  const std::uint64_t per_block = block_size / 4;
  return (12 + per_block + per_block * per_block + per_block * per_block * per_block) * block_size;
}

void check_file_size(CheckState& state, const Inode& inode, const Blocks& blocks) {
  const Place place = Place::of_inode(inode.number);
  const std::uint64_t size = inode.size.value;
  const std::uint64_t block_size = state.superblock().block_size;
  if (blocks.written_end > 0 && size < (blocks.written_end - 1) * block_size)
    state.findings.fault(place, "{} bytes long, but with content up to block {}", size, blocks.written_end);
  const bool has_extents = (inode.flags & layout::inode_flag::kExtents) != 0;
  const std::uint64_t largest = has_extents ? (block_size << 32) - 1 : largest_indirect(block_size);
  if (size > largest) state.findings.fault(place, "{} bytes long, where {} is the most", size, largest);
  if (size > INT32_MAX && !state.superblock().has_read_only(layout::read_only::kLargeFiles))
    state.findings.fault(place, "{} bytes long, without the feature large_file", size);
}

void check_directory_size(CheckState& state, const Inode& inode, const Blocks& blocks) {
  const std::uint64_t found = blocks.end * state.superblock().block_size;
  if (inode.size.value != found || found == 0)
    state.findings.fault(Place::of_inode(inode.number), "{} bytes long, but with blocks for {}", inode.size.value,
                         found);
}

// The target of a symlink that is too long for its inode: one block.
Result<void> check_long_symlink(CheckState& state, const Inode& inode, const Blocks& blocks) {
  const Place place = Place::of_inode(inode.number);
  if (inode.size.value >= state.superblock().block_size || blocks.count != 1 || blocks.written_end != 1) {
    state.findings.fault(place, "a symlink of {} bytes and {} blocks", inode.size.value, blocks.count);
    return {};
  }
  DADI_TRY(const auto block, state.image.read_block(blocks.first_physical));
  if (as_text(block).find('\0') != inode.size.value)
    state.findings.fault(place, "a symlink of {} bytes whose target is longer or shorter", inode.size.value);
  return {};
}

void check_short_symlink(CheckState& state, const Inode& inode) {
  const Place place = Place::of_inode(inode.number);
  if (inode.size.value == 0 || as_text(inode.block_map).find('\0') != inode.size.value)
    state.findings.fault(place, "a symlink of {} bytes whose target is longer or shorter", inode.size.value);
  check_allocated(state, inode, 0);
}

// Devices, fifos and sockets have no content; the block map has the device's number, and at times rubbish behind it.
void check_special(CheckState& state, const Inode& inode) {
  const Place place = Place::of_inode(inode.number);
  if (inode.size.value != 0) state.findings.fault(place, "a special file of {} bytes", inode.size.value);
  check_allocated(state, inode, 0);
}

}  // namespace

Result<void> check_content(CheckState& state, const Inode& inode) {
  const FileType type = inode.attributes.type;
  if (is_short_symlink(inode)) return check_short_symlink(state, inode), Result<void>();
  if (type != FileType::kRegular && type != FileType::kDirectory && type != FileType::kSymlink)
    return check_special(state, inode), Result<void>();
  if ((inode.flags & layout::inode_flag::kInlineData) != 0) return {};  // a fault already

  DADI_TRY(const Blocks blocks, claim_blocks(state, inode));
  check_allocated(state, inode, blocks.count);
  if (type == FileType::kRegular) check_file_size(state, inode, blocks);
  if (type == FileType::kDirectory) {
    check_directory_size(state, inode, blocks);
    // A reserved inode that damage made a directory is none of those that are looked into.
    if (!state.directories.empty() && state.directories.back().number == inode.number)
      state.directories.back().has_shared_blocks = blocks.are_shared;
  }
  return type == FileType::kSymlink ? check_long_symlink(state, inode, blocks) : Result<void>();
}

Result<void> check_resize_inode(CheckState& state, std::span<const std::byte> raw) {
  const Superblock& sb = state.superblock();
  const Place place = Place::of_inode(layout::reserved_inode::kResize);
  const Inode inode = decode_inode(sb, layout::reserved_inode::kResize, raw);
  const auto invalid = [&](std::string_view what) -> Result<void> {
    state.findings.fault(place, "room for group descriptors: {}", what);
    return {};
  };
  if (file_type_of_mode(load_le<std::uint16_t>(raw, layout::inode::kMode)) != FileType::kRegular || inode.links == 0)
    return invalid("not a regular file");
  constexpr std::size_t kList = 4 * 13;  // the double indirect block
  const std::span<const std::byte> map = inode.block_map;
  if (!all_zero(map.first(kList)) || !all_zero(map.subspan(kList + 4))) return invalid("blocks beside the list");
  const std::uint64_t list = load_le<std::uint32_t>(map, kList);
  if (!state.image.holds(list, 1)) return invalid("no list of blocks");
  state.claim(place, list, 1);

  // Block i of the room lists its copies in the groups that have copies of the descriptors. The room itself is claimed
  // with these groups' heads.
  DADI_TRY(const auto blocks, state.image.read_block(list));
  const std::uint64_t per_block = sb.block_size / 4;
  const std::uint64_t room = std::uint64_t{sb.first_data_block} + 1 + sb.descriptor_blocks();
  std::uint64_t count = 1;
  for (std::uint32_t i = 0; i < sb.reserved_gdt_blocks; ++i) {
    if (load_le<std::uint32_t>(blocks, 4 * ((sb.descriptor_blocks() + i) % per_block)) != room + i)
      return invalid("a block is missing from the list");
    DADI_TRY(const auto copies, state.image.read_block(room + i));
    std::size_t index = 0;
    for (std::uint32_t group = 1; group < sb.group_count && index < per_block; ++group) {
      if (!sb.group_has_superblock(group)) continue;
      const std::uint64_t copy = room + i + std::uint64_t{group} * sb.blocks_per_group;
      if (load_le<std::uint32_t>(copies, 4 * index++) != copy) return invalid("a copy is missing from the list");
    }
    count += 1 + index;
  }
  check_allocated(state, inode, count);
  return {};
}

Result<void> check_journal(CheckState& state, const Inode& inode) {
  constexpr std::array<std::byte, 4> kMagic = {std::byte{0xC0}, std::byte{0x3B}, std::byte{0x39}, std::byte{0x98}};
  const Place place = Place::of_inode(inode.number);
  if (inode.attributes.type != FileType::kRegular || inode.links == 0) {
    state.findings.fault(place, "the journal is not a regular file");
    return {};
  }
  std::uint64_t first = 0;
  BlockMapEvents events;
  events.data = [&](const FileExtent& run) -> Result<void> {
    if (run.logical == 0) first = run.physical;
    return {};
  };
  events.fault = [](const Error&) -> Result<void> { return {}; };  // told by check_content
  DADI_CHECK(walk_block_map(state.image, inode, {.first = 0, .count = 1}, events));
  if (first == 0) return state.findings.fault(place, "the journal is empty"), Result<void>();
  DADI_TRY(const auto block, state.image.read_block(first));
  if (!std::ranges::equal(std::span(block).first(kMagic.size()), kMagic))
    state.findings.fault(place, "the journal has no superblock");
  return {};
}

}  // namespace dadi::fs
