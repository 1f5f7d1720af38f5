#include <algorithm>
#include <optional>

#include "libformat/base/endian.h"
#include "libformat/base/units.h"
#include "libfs/check/state.h"
#include "libfs/ext4/checksum.h"
#include "libfs/ext4/layout.h"
#include "libfs/ext4/xattr.h"

namespace dadi::fs {
namespace {

// What one list of attributes is checked for beyond what reading it needs.
class ListCheck {
 public:
  // In an inode a hash may be left out, and the order is free.
  ListCheck(CheckState& state, Place place, bool is_block)
      : state_(state), place_(std::move(place)), is_block_(is_block) {}

  Result<void> run(std::span<const std::byte> area, std::size_t first) {
    const auto end = walk_xattrs(area, first, [this](const RawXattr& xattr) { return visit(xattr); });
    if (!end) {
      state_.findings.fault(place_, "{}", end.error().message());
      return {};
    }
    check_overlap(*end);
    return {};
  }

 private:
  Result<void> visit(const RawXattr& xattr) {
    if (xattr.name_index == 0) state_.findings.fault(place_, "xattrs: a name without a kind");
    if (xattr.value_inode != 0) {
      if (state_.superblock().has_incompatible(layout::incompatible::kXattrInodes))
        return Error::unsupported("checking xattr values in inodes of their own");
      state_.findings.fault(place_, "xattrs: a value in inode {}, without the feature ea_inode", xattr.value_inode);
    }
    if (const auto value = xattr_value(xattr.name_index, xattr.value); !value && xattr.value_inode == 0)
      state_.findings.fault(place_, "xattrs: {}", value.error().message());
    if (!hash_holds(xattr)) state_.findings.fault(place_, "xattrs: {:?} does not match its hash", xattr.suffix);
    if (is_block_ && previous_ && !is_before(*previous_, xattr))
      state_.findings.fault(place_, "xattrs: {:?} is out of order", xattr.suffix);
    previous_ = xattr;
    if (!xattr.value.empty())
      values_.push_back({xattr.value_offset, xattr.value_offset + round_up(xattr.value.size(), 4)});
    return {};
  }

  bool hash_holds(const RawXattr& xattr) const {
    if (xattr.value_inode != 0 || (!is_block_ && xattr.hash == 0)) return true;
    return xattr.hash == xattr_hash(xattr.suffix, xattr.value, false) ||
           xattr.hash == xattr_hash(xattr.suffix, xattr.value, true);
  }

  // The order by which the kernel stops looking.
  static bool is_before(const RawXattr& a, const RawXattr& b) {
    if (a.name_index != b.name_index) return a.name_index < b.name_index;
    if (a.suffix.size() != b.suffix.size()) return a.suffix.size() < b.suffix.size();
    return a.suffix < b.suffix;
  }

  // No value shares bytes with another, or with the entries, which end at `end`.
  void check_overlap(std::size_t end) {
    std::ranges::sort(values_);
    for (const auto& [begin, value_end] : values_) {
      if (begin < end) state_.findings.fault(place_, "xattrs: the value at {} lies over something else", begin);
      end = value_end;
    }
  }

  CheckState& state_;
  Place place_;
  bool is_block_;
  std::optional<RawXattr> previous_;
  std::vector<std::pair<std::size_t, std::size_t>> values_;
};

Result<void> check_block(CheckState& state, const Inode& inode) {
  const std::uint64_t number = inode.xattr_block;
  const Place place = Place::of_inode(inode.number);
  if (!state.superblock().has_compatible(layout::compatible::kXattrs))
    state.findings.fault(place, "an xattr block, without the feature ext_attr");
  if (!state.image.holds(number, 1)) {
    state.findings.fault(place, "its xattr block is {}, outside the file system", number);
    return {};
  }
  const auto [use, is_new] = state.xattr_blocks.try_emplace(number);
  ++use->second.references_found;
  if (!is_new) return {};
  state.claim(place, number, 1);
  DADI_TRY(const auto block, state.image.read_block(number));
  use->second.references_stated = load_le<std::uint32_t>(block, layout::xattr::kReferences);
  if (const auto problem = xattr_block_problem(block)) {
    state.findings.fault(place, "its xattr block {} has {}", number, *problem);
    return {};
  }
  if (state.superblock().has_metadata_checksums() && load_le<std::uint32_t>(block, layout::xattr::kChecksum) !=
                                                         checksum::xattr_block(state.superblock(), number, block))
    state.findings.fault(place, "its xattr block {} does not match its checksum", number);
  return ListCheck(state, place, true).run(block, layout::xattr::kBlockHeaderSize);
}

}  // namespace

Result<void> check_xattrs(CheckState& state, const Inode& inode, std::span<const std::byte> raw) {
  if (const auto area = inode_xattr_area(raw); !area.empty())
    DADI_CHECK(ListCheck(state, Place::of_inode(inode.number), false).run(area, 0));
  return inode.xattr_block == 0 ? Result<void>() : check_block(state, inode);
}

}  // namespace dadi::fs
