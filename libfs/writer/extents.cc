#include "libfs/writer/extents.h"

#include <algorithm>

#include "libformat/base/endian.h"

namespace dadi::fs {

namespace {

// struct ext4_extent_header, ext4_extent and ext4_extent_idx, 12 bytes each.
constexpr std::uint16_t kMagic = 0xF30A;
constexpr std::size_t kRecord = 12;
constexpr std::size_t kInInode = 4;                                 // records, behind the header
constexpr std::size_t kInBlock = (kBlockSize - kRecord) / kRecord;  // 340; the checksum's 4 bytes are left over
constexpr std::uint64_t kLongest = 32768;                           // blocks in an extent; longer means unwritten
constexpr unsigned kDeepest = 5;

struct Node {
  std::uint64_t logical;
  BlockNumber block;
};

void store_header(std::span<std::byte> area, std::size_t entries, std::size_t most, std::size_t depth) {
  store_le(area, 0, kMagic);
  store_le(area, 2, static_cast<std::uint16_t>(entries));
  store_le(area, 4, static_cast<std::uint16_t>(most));
  store_le(area, 6, static_cast<std::uint16_t>(depth));
  store_le<std::uint32_t>(area, 8, 0);
}

void store_extents(std::span<std::byte> area, std::size_t most, std::span<const FileRun> runs) {
  store_header(area, runs.size(), most, 0);
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const auto record = area.subspan(kRecord * (i + 1), kRecord);
    store_le(record, 0, static_cast<std::uint32_t>(runs[i].logical));
    store_le(record, 4, static_cast<std::uint16_t>(runs[i].count));
    store_le(record, 6, static_cast<std::uint16_t>(runs[i].physical >> 32));
    store_le(record, 8, static_cast<std::uint32_t>(runs[i].physical));
  }
}

void store_nodes(std::span<std::byte> area, std::size_t most, std::size_t depth, std::span<const Node> nodes) {
  store_header(area, nodes.size(), most, depth);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const auto record = area.subspan(kRecord * (i + 1), kRecord);
    store_le(record, 0, static_cast<std::uint32_t>(nodes[i].logical));
    store_le(record, 4, static_cast<std::uint32_t>(nodes[i].block));
    store_le(record, 8, static_cast<std::uint16_t>(nodes[i].block >> 32));
    store_le<std::uint16_t>(record, 10, 0);
  }
}

// Reads one node of the tree and all below it.
Result<void> read_node(const Ext2FileSystem& fs, const LayerDevice& device, std::span<const std::byte> area,
                       unsigned depth, ExtentTree& result) {
  const std::size_t entries = load_le<std::uint16_t>(area, 2);
  if (load_le<std::uint16_t>(area, 0) != kMagic || load_le<std::uint16_t>(area, 6) != depth ||
      entries > area.size() / kRecord - 1)
    return Error::corruption("a node of the extent tree is damaged");
  const std::uint64_t device_blocks = ext2fs_blocks_count(fs->super);
  for (std::size_t i = 0; i < entries; ++i) {
    const auto record = area.subspan(kRecord * (i + 1), kRecord);
    if (depth == 0) {
      const std::uint64_t logical = load_le<std::uint32_t>(record, 0);
      std::uint64_t count = load_le<std::uint16_t>(record, 4);
      if (count > kLongest) count -= kLongest;  // unwritten
      const BlockNumber start = load_le<std::uint32_t>(record, 8) | std::uint64_t{load_le<std::uint16_t>(record, 6)}
                                                                        << 32;
      const auto& runs = result.extents.runs();
      if (count == 0 || start == 0 || start >= device_blocks || count > device_blocks - start ||
          (!runs.empty() && logical < runs.back().logical + runs.back().count))
        return Error::corruption("an extent is out of order or out of range");
      result.extents.append(logical, {start, count});
      continue;
    }
    const BlockNumber child = load_le<std::uint32_t>(record, 4) | std::uint64_t{load_le<std::uint16_t>(record, 8)}
                                                                      << 32;
    if (child == 0 || child >= device_blocks || result.tree.size() > device_blocks)
      return Error::corruption("a node of the extent tree points to block {}", child);
    result.tree.push_back(child);
    Block block;
    DADI_CHECK(device.read(child, block));
    DADI_CHECK(read_node(fs, device, block, depth - 1, result));
  }
  return {};
}

}  // namespace

void ExtentList::append(std::uint64_t logical, BlockRange blocks) {
  while (blocks.count > 0) {
    FileRun* last = runs_.empty() ? nullptr : &runs_.back();
    std::uint64_t count = std::min(blocks.count, kLongest);
    if (last != nullptr && last->logical + last->count == logical && last->physical + last->count == blocks.start &&
        last->count < kLongest) {
      count = std::min(blocks.count, kLongest - last->count);
      last->count += count;
    } else {
      runs_.push_back({logical, blocks.start, count});
    }
    logical += count;
    blocks.start += count;
    blocks.count -= count;
  }
}

std::uint64_t ExtentList::blocks() const {
  std::uint64_t sum = 0;
  for (const FileRun& run : runs_) sum += run.count;
  return sum;
}

Result<BlockNumber> ExtentList::find(std::uint64_t logical) const {
  const auto after = std::ranges::upper_bound(runs_, logical, {}, [](const FileRun& run) { return run.logical; });
  if (after == runs_.begin()) return Error::corruption("block {} is a hole", logical);
  const FileRun& run = *std::prev(after);
  if (logical - run.logical >= run.count) return Error::corruption("block {} is a hole", logical);
  return run.physical + (logical - run.logical);
}

Result<ExtentTree> read_extents(const Ext2FileSystem& fs, const LayerDevice& device, const InodeImage& inode) {
  if ((inode.flags() & InodeImage::kExtentsFlag) == 0)
    return Error::unsupported("a file of the file system below has no extents");
  const auto area = inode.block_area();
  const unsigned depth = load_le<std::uint16_t>(area, 6);
  if (depth > kDeepest) return Error::corruption("an extent tree of depth {}", depth);
  ExtentTree result;
  DADI_CHECK(read_node(fs, device, area, depth, result));
  return result;
}

Result<std::uint64_t> write_extents(Ext2FileSystem& fs, LayerDevice& device, BlockAllocator& allocator,
                                    InodeNumber number, InodeImage& inode, const ExtentList& extents,
                                    const std::vector<BlockNumber>& reuse) {
  std::span<const BlockNumber> spare(reuse);
  std::uint64_t used = 0;
  const auto put = [&](Block& block, std::uint64_t logical) -> Result<Node> {
    BlockNumber place = 0;
    const bool fresh = spare.empty();
    if (fresh) {
      DADI_TRY(const BlockRange taken, allocator.take(1));
      place = taken.start;
    } else {
      place = spare.front();
      spare = spare.subspan(1);
    }
    ext2fs_extent_block_csum_set(fs.get(), number, reinterpret_cast<ext3_extent_header*>(block.data()));
    device.put(place, block, fresh);
    ++used;
    return Node{logical, place};
  };
  inode.set_flags(inode.flags() | InodeImage::kExtentsFlag);
  const auto area = inode.block_area();
  std::ranges::fill(area, std::byte{0});
  const std::span<const FileRun> runs(extents.runs());
  if (runs.size() <= kInInode) {
    store_extents(area, kInInode, runs);
  } else {
    std::vector<Node> nodes;
    for (std::size_t i = 0; i < runs.size(); i += kInBlock) {
      Block block{};
      store_extents(block, kInBlock, runs.subspan(i, std::min(kInBlock, runs.size() - i)));
      DADI_TRY(const Node node, put(block, runs[i].logical));
      nodes.push_back(node);
    }
    std::size_t depth = 1;
    for (; nodes.size() > kInInode; ++depth) {
      std::vector<Node> above;
      for (std::size_t i = 0; i < nodes.size(); i += kInBlock) {
        Block block{};
        store_nodes(block, kInBlock, depth, std::span(nodes).subspan(i, std::min(kInBlock, nodes.size() - i)));
        DADI_TRY(const Node node, put(block, nodes[i].logical));
        above.push_back(node);
      }
      nodes = std::move(above);
    }
    store_nodes(area, kInInode, depth, nodes);
  }
  for (const BlockNumber block : spare) {
    DADI_CHECK(device.drop({block, 1}));
    allocator.free({block, 1});
  }
  return used;
}

}  // namespace dadi::fs
