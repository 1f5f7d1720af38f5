// Paths of the inodes that findings are about: looked up at the end, since most inodes need none.
#include <map>
#include <optional>

#include "libfs/check/state.h"
#include "libfs/ext4/directory.h"
#include "libfs/ext4/inode.h"

namespace dadi::fs {
namespace {

constexpr int kDeepest = 64;                    // components; a deeper inode goes without a path
constexpr std::uint64_t kMostBlocks = 100'000;  // of directories to read, in all

class Namer {
 public:
  explicit Namer(CheckState& state) : state_(state) {}

  Result<void> name(Place& place) {
    if (place.inode == 0) return {};
    DADI_TRY(const auto path, path_of(place.inode));
    if (path) place.text += fmt::format(" ({})", *path);
    return {};
  }

 private:
  Result<std::optional<std::string>> path_of(InodeNumber number) {
    std::string path;
    for (int depth = 0; depth < kDeepest; ++depth) {
      if (number == kRootInode) return std::optional(path.empty() ? "/" : path);
      const InodeRecord* record = state_.find(number);
      if (record == nullptr || record->parent == 0) break;
      DADI_TRY(const auto name, name_in(record->parent, number));
      if (!name) break;
      path.insert(0, "/" + *name);
      number = record->parent;
    }
    return std::optional<std::string>();
  }

  // What a directory calls an inode.
  Result<std::optional<std::string>> name_in(InodeNumber directory, InodeNumber wanted) {
    if (const auto known = names_.find(wanted); known != names_.end()) return known->second;
    std::optional<std::string>& name = names_[wanted];
    const auto visit_entry = [&](const RawEntry& entry) -> Result<void> {
      if (!name && entry.inode == wanted && entry.name != "." && entry.name != "..") name = std::string(entry.name);
      return {};
    };
    const auto visit = [&](std::uint64_t, std::uint64_t, std::span<const std::byte> block) -> Result<void> {
      if (++blocks_read_ > kMostBlocks) return Error::exhausted("too many directories to look for names in");
      (void)walk_entries(block, visit_entry);  // damage is told elsewhere
      return {};
    };
    const auto ignore = [](const Error&) -> Result<void> { return {}; };
    DADI_TRY(const auto raw, state_.image.raw_inode(directory));
    const Inode inode = decode_inode(state_.superblock(), directory, raw);
    if (blocks_read_ > kMostBlocks) return name;
    auto walked = walk_directory_blocks(state_.image, inode, {}, visit, ignore);
    if (!walked && walked.error().code() != ErrorCode::kExhausted) return std::move(walked).error();
    return name;
  }

  CheckState& state_;
  std::map<InodeNumber, std::optional<std::string>> names_;
  std::uint64_t blocks_read_ = 0;
};

}  // namespace

Result<void> name_places(CheckState& state) {
  Namer namer(state);
  for (Findings::Item& item : state.findings.faults()) DADI_CHECK(namer.name(item.place));
  for (Findings::Item& item : state.findings.notes()) DADI_CHECK(namer.name(item.place));
  return {};
}

}  // namespace dadi::fs
