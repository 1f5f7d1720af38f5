// A directory's index: a tree over its blocks, ordered by the hashes of names.
#include <algorithm>
#include <optional>
#include <unordered_set>

#include "libformat/base/endian.h"
#include "libfs/check/state.h"
#include "libfs/ext4/directory.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

namespace field = layout::htree;

constexpr std::uint64_t kHashEnd = std::uint64_t{1} << 32;  // above every hash

class IndexCheck {
 public:
  IndexCheck(CheckState& state, const Inode& directory, const HashRanges& ranges)
      : state_(state), directory_(directory), place_(Place::of_inode(directory.number)), ranges_(ranges) {}

  Result<void> run() {
    used_.insert(0);
    DADI_TRY(const auto root, read(0));
    if (!root) return {};
    const unsigned levels = load_le<std::uint8_t>(*root, field::kRootLevels);
    if (load_le<std::uint32_t>(*root, field::kRootReserved) != 0 ||
        load_le<std::uint8_t>(*root, field::kRootInfoLength) != 8 ||
        (load_le<std::uint8_t>(*root, field::kRootFlags) & 1) != 0)
      return fault("a root of an unknown form");
    const bool is_large = state_.superblock().has_incompatible(layout::incompatible::kLargeDirectories);
    if (levels >= (is_large ? 3U : 2U)) return fault("{} levels", levels);
    DADI_CHECK(visit_node(0, *root, levels, 0, kHashEnd));
    check_unused();
    return {};
  }

 private:
  template <typename... Args>
  Result<void> fault(fmt::format_string<Args...> format, Args&&... args) {
    state_.findings.fault(place_, "directory index: {}", fmt::format(format, std::forward<Args>(args)...));
    return {};
  }

  // A block of the directory; none if it is missing, which is a fault already.
  Result<std::optional<std::vector<std::byte>>> read(std::uint64_t logical) {
    std::optional<std::vector<std::byte>> found;
    const auto visit = [&](std::uint64_t, std::uint64_t, std::span<const std::byte> block) -> Result<void> {
      found.emplace(block.begin(), block.end());
      return {};
    };
    const auto ignore = [](const Error&) -> Result<void> { return {}; };
    DADI_CHECK(walk_directory_blocks(state_.image, directory_, {.first = logical, .count = 1}, visit, ignore));
    return found;
  }

  // Visits a block of the index for the hashes [low, high), with `levels` of other nodes below it. A lowest bit in a
  // bound says that names of that hash begin in the block before.
  Result<void> visit_node(std::uint64_t logical, std::span<const std::byte> block, unsigned levels, std::uint64_t low,
                          std::uint64_t high) {
    const auto records = index_records(state_.superblock(), block, logical == 0);
    if (!records) return fault("block {}: {}", logical, records.error().message());
    const std::size_t count = load_le<std::uint16_t>(block, *records + field::kCount);
    const auto record = [&](std::size_t i) {
      return block.subspan(*records + i * field::kRecordSize, field::kRecordSize);
    };
    for (std::size_t i = 0; i < count; ++i) {
      const std::uint64_t begin = i == 0 ? low : load_le<std::uint32_t>(record(i), field::kHash);
      const std::uint64_t end = i + 1 < count ? load_le<std::uint32_t>(record(i + 1), field::kHash) : high;
      if (begin < low || end < begin || end > high)
        DADI_CHECK(fault("block {}: record {} is out of order", logical, i));
      DADI_CHECK(visit_child(load_le<std::uint32_t>(record(i), field::kBlock), levels, begin, end));
    }
    return {};
  }

  Result<void> visit_child(std::uint64_t child, unsigned levels, std::uint64_t low, std::uint64_t high) {
    if (!ranges_.contains(child)) return fault("block {}, which the directory does not have", child);
    if (!used_.insert(child).second) return fault("block {} is referred to twice", child);
    if (levels == 0) return check_leaf(child, low, high);
    DADI_TRY(const auto block, read(child));
    if (!block) return {};
    if (!is_index_node(*block)) return fault("block {} should be a node of it", child);
    return visit_node(child, *block, levels - 1, low, high);
  }

  Result<void> check_leaf(std::uint64_t logical, std::uint64_t low, std::uint64_t high) {
    const HashRange& range = ranges_.at(logical);
    if (range.is_empty()) return {};
    // An odd upper bound is above the names of its hash, which then go on in the next block.
    if (range.lowest >= (low & ~std::uint64_t{1}) && range.highest < high) return {};
    return fault("block {} has names with hashes {:#x} to {:#x}, outside {:#x} to {:#x}", logical, range.lowest,
                 range.highest, low, high);
  }

  // Blocks with names that no lookup would find. Empty ones do no harm: the reference's mkfs leaves one in lost+found.
  void check_unused() {
    for (const auto& [logical, range] : ranges_) {
      if (used_.contains(logical)) continue;
      if (range.is_empty())
        state_.findings.note(place_, "directory index: block {}, which is empty, is not referred to", logical);
      else
        state_.findings.fault(place_, "directory index: block {} is not referred to", logical);
    }
  }

  CheckState& state_;
  const Inode& directory_;
  Place place_;
  const HashRanges& ranges_;
  std::unordered_set<std::uint64_t> used_;
};

}  // namespace

Result<void> check_index(CheckState& state, const Inode& directory, const HashRanges& ranges) {
  return IndexCheck(state, directory, ranges).run();
}

}  // namespace dadi::fs
