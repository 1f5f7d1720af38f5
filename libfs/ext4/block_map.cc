#include "libfs/ext4/block_map.h"

#include <algorithm>
#include <optional>
#include <unordered_set>

#include "libformat/base/endian.h"
#include "libfs/ext4/checksum.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

constexpr std::uint64_t kLogicalEnd = std::uint64_t{1} << 32;  // block numbers within a file have 32 bits
constexpr std::size_t kMostIndirectBlocks = std::size_t{4} << 20;

// Joins runs that continue each other before they are handed on.
class RunMerger {
 public:
  explicit RunMerger(const BlockMapEvents& events) : events_(events) {}

  Result<void> add(const FileExtent& run) {
    if (pending_ && pending_->logical + pending_->count == run.logical &&
        pending_->physical + pending_->count == run.physical && pending_->unwritten == run.unwritten) {
      pending_->count += run.count;
      return {};
    }
    DADI_CHECK(flush());
    pending_ = run;
    return {};
  }

  Result<void> flush() {
    if (!pending_) return {};
    const FileExtent run = *pending_;
    pending_.reset();
    return events_.data(run);
  }

 private:
  const BlockMapEvents& events_;
  std::optional<FileExtent> pending_;
};

// Keys ascend strictly over the whole tree, and a child's first key is the one that led to it: so no block of the tree
// is of use at two places, and a tree that is really a graph cannot multiply the work.
class ExtentWalk {
 public:
  ExtentWalk(const Image& image, const Inode& inode, LogicalRange range, const BlockMapEvents& events)
      : image_(image), inode_(inode), range_(range), events_(events), runs_(events) {}

  Result<void> run() {
    const auto depth = load_le<std::uint16_t>(inode_.block_map, layout::extent::kDepth);
    if (depth > layout::extent::kMaximumDepth) return fault("a depth of {}", depth);
    DADI_CHECK(visit(inode_.block_map, depth, std::nullopt, kLogicalEnd));
    return runs_.flush();
  }

 private:
  template <typename... Args>
  Result<void> fault(fmt::format_string<Args...> format, Args&&... args) {
    return events_.fault(Error::corruption("extent tree: {}", fmt::format(format, std::forward<Args>(args)...)));
  }

  // What keeps a node from being one; empty if nothing. The root has no key.
  std::string header_problem(std::span<const std::byte> node, std::uint16_t depth,
                             std::optional<std::uint64_t> key) const {
    namespace field = layout::extent;
    const std::size_t room = (node.size() - field::kHeaderSize) / field::kRecordSize;
    const std::size_t maximum = load_le<std::uint16_t>(node, field::kMaximum);
    const std::size_t entries = load_le<std::uint16_t>(node, field::kEntries);
    if (const auto magic = load_le<std::uint16_t>(node, field::kMagic); magic != field::kMagicValue)
      return fmt::format("magic {:#06x}", magic);
    if (load_le<std::uint16_t>(node, field::kDepth) != depth)
      return fmt::format("a node of depth {} where {} is due", load_le<std::uint16_t>(node, field::kDepth), depth);
    if (maximum > room || maximum + 2 < room) return fmt::format("room for {} records stated as {}", room, maximum);
    if (entries > maximum) return fmt::format("{} records in room for {}", entries, maximum);
    if (entries == 0 && (key || depth > 0)) return "a node without records";
    if (!key || entries == 0) return {};
    if (const std::uint64_t first = load_le<std::uint32_t>(node, field::kHeaderSize + field::kLogical); first != *key)
      return fmt::format("a node that begins at block {} of the file where {} is due", first, *key);
    return {};
  }

  // Visits a node whose content lies in [key or 0, end) of the file.
  Result<void> visit(std::span<const std::byte> node, std::uint16_t depth, std::optional<std::uint64_t> key,
                     std::uint64_t end) {
    if (const std::string problem = header_problem(node, depth, key); !problem.empty()) return fault("{}", problem);
    const std::size_t entries = load_le<std::uint16_t>(node, layout::extent::kEntries);
    const auto record = [&](std::size_t i) {
      return node.subspan(layout::extent::kHeaderSize + i * layout::extent::kRecordSize, layout::extent::kRecordSize);
    };
    for (std::size_t i = 0; i < entries; ++i) {
      if (depth == 0) {
        DADI_CHECK(visit_leaf(record(i), end));
        continue;
      }
      const std::uint64_t next =
          i + 1 < entries ? load_le<std::uint32_t>(record(i + 1), layout::extent::kLogical) : end;
      DADI_CHECK(visit_child(record(i), depth, std::min(next, end)));
    }
    return {};
  }

  Result<void> visit_leaf(std::span<const std::byte> record, std::uint64_t end) {
    const auto length = load_le<std::uint16_t>(record, layout::extent::kLength);
    FileExtent run;
    run.logical = load_le<std::uint32_t>(record, layout::extent::kLogical);
    run.physical = std::uint64_t{load_le<std::uint16_t>(record, layout::extent::kStartHigh)} << 32 |
                   load_le<std::uint32_t>(record, layout::extent::kStartLow);
    run.unwritten = length > layout::extent::kLongest;
    run.count = run.unwritten ? length - layout::extent::kLongest : length;
    if (run.count == 0) return fault("an extent of length 0 at block {} of the file", run.logical);
    if (run.logical < next_) return fault("the extent at block {} of the file is out of order", run.logical);
    if (run.logical + run.count > end)
      return fault("the extent at block {} of the file reaches past block {}, where the next node begins", run.logical,
                   end);
    if (!image_.holds(run.physical, run.count))
      return fault("the extent at block {} of the file lies at {} blocks from {}, outside the file system", run.logical,
                   run.count, run.physical);
    next_ = run.logical + run.count;
    return is_wanted(run.logical, next_) ? runs_.add(run) : Result<void>();
  }

  Result<void> visit_child(std::span<const std::byte> record, std::uint16_t depth, std::uint64_t end) {
    const std::uint64_t key = load_le<std::uint32_t>(record, layout::extent::kLogical);
    const std::uint64_t child = std::uint64_t{load_le<std::uint16_t>(record, layout::extent::kChildHigh)} << 32 |
                                load_le<std::uint32_t>(record, layout::extent::kChildLow);
    if (key < next_ || key >= end) return fault("the node for block {} of the file is out of order", key);
    next_ = key;
    if (!is_wanted(key, end)) return {};
    if (!image_.holds(child, 1)) return fault("a node at block {}, outside the file system", child);
    if (events_.map_block) {
      DADI_TRY(const bool descend, events_.map_block(child));
      if (!descend) return {};
    }
    DADI_TRY(const auto block, image_.read_block(child));
    DADI_CHECK(visit(block, static_cast<std::uint16_t>(depth - 1), key, end));
    return check_checksum(child, block);
  }

  Result<void> check_checksum(std::uint64_t number, std::span<const std::byte> block) {
    if (!image_.superblock().has_metadata_checksums()) return {};
    const std::size_t maximum = load_le<std::uint16_t>(block, layout::extent::kMaximum);
    const std::size_t tail = layout::extent::kHeaderSize + maximum * layout::extent::kRecordSize;
    if (tail + 4 > block.size()) return {};  // a fault already
    const std::uint32_t seed =
        checksum::inode_seed(image_.superblock().checksum_seed, inode_.number, inode_.generation);
    if (load_le<std::uint32_t>(block, tail) == checksum::extent_block(seed, block)) return {};
    return fault("the node at block {} does not match its checksum", number);
  }

  bool is_wanted(std::uint64_t begin, std::uint64_t end) const {
    return end > range_.first && (begin < range_.first || begin - range_.first < range_.count);
  }

  const Image& image_;
  const Inode& inode_;
  LogicalRange range_;
  const BlockMapEvents& events_;
  RunMerger runs_;
  std::uint64_t next_ = 0;  // the lowest block of the file that the next record may be about
};

// Twelve block numbers, then a block of numbers, a block of such blocks, and one more level of that. No order keeps a
// hostile map from leading to one block again and again: blocks of the map are remembered.
class IndirectWalk {
 public:
  IndirectWalk(const Image& image, const Inode& inode, LogicalRange range, const BlockMapEvents& events)
      : image_(image), inode_(inode), range_(range), events_(events), runs_(events) {}

  Result<void> run() {
    const std::uint64_t per_block = image_.block_size() / 4;
    std::uint64_t logical = 0;
    std::uint64_t span = 1;
    for (std::size_t i = 0; i < layout::inode::kBlockMapSize / 4; ++i) {
      const unsigned level = i < 12 ? 0 : static_cast<unsigned>(i - 11);
      if (level > 0) span *= per_block;
      DADI_CHECK(visit(load_le<std::uint32_t>(inode_.block_map, 4 * i), level, logical, span));
      logical += span;
    }
    return runs_.flush();
  }

 private:
  // Visits what a block number stands for: `span` blocks of the file from `logical` on, through `level` blocks of map.
  Result<void> visit(std::uint32_t number, unsigned level, std::uint64_t logical, std::uint64_t span) {
    if (number == 0 || logical + span <= range_.first ||
        (logical > range_.first && logical - range_.first >= range_.count))
      return {};
    if (!image_.holds(number, 1))
      return events_.fault(
          Error::corruption("block map: block {} of the file lies at {}, outside the file system", logical, number));
    if (level == 0) return runs_.add({.logical = logical, .physical = number, .count = 1, .unwritten = false});
    return visit_map_block(number, level, logical, span / (image_.block_size() / 4));
  }

  Result<void> visit_map_block(std::uint32_t number, unsigned level, std::uint64_t logical, std::uint64_t span) {
    if (!visited_.insert(number).second)
      return events_.fault(Error::corruption("block map: block {} is used as a part of the map twice", number));
    if (visited_.size() > kMostIndirectBlocks)
      return Error::exhausted("block map: more than {} blocks of map", kMostIndirectBlocks);
    if (events_.map_block) {
      DADI_TRY(const bool descend, events_.map_block(number));
      if (!descend) return {};
    }
    DADI_TRY(const auto block, image_.read_block(number));
    for (std::size_t i = 0; i < block.size() / 4; ++i)
      DADI_CHECK(visit(load_le<std::uint32_t>(block, 4 * i), level - 1, logical + i * span, span));
    return {};
  }

  const Image& image_;
  const Inode& inode_;
  LogicalRange range_;
  const BlockMapEvents& events_;
  RunMerger runs_;
  std::unordered_set<std::uint32_t> visited_;
};

}  // namespace

Result<void> walk_block_map(const Image& image, const Inode& inode, LogicalRange range, const BlockMapEvents& events) {
  if ((inode.flags & layout::inode_flag::kExtents) != 0) return ExtentWalk(image, inode, range, events).run();
  return IndirectWalk(image, inode, range, events).run();
}

bool looks_like_extents(std::span<const std::byte> map) {
  const std::size_t room = (map.size() - layout::extent::kHeaderSize) / layout::extent::kRecordSize;
  return load_le<std::uint16_t>(map, layout::extent::kMagic) == layout::extent::kMagicValue &&
         load_le<std::uint16_t>(map, layout::extent::kMaximum) == room &&
         load_le<std::uint16_t>(map, layout::extent::kEntries) <= room &&
         load_le<std::uint16_t>(map, layout::extent::kDepth) <= layout::extent::kMaximumDepth;
}

}  // namespace dadi::fs
