#include <algorithm>

#include "libfs/check/state.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

// Above this the kernel no longer counts a directory's links, and states 1.
constexpr std::uint32_t kMostDirectoryLinks = 65000;

// Which directories the root can reach, by following each to its parent: every one is passed once.
class Reach {
 public:
  explicit Reach(CheckState& state) : state_(state), standing_(state.directories.size(), Standing::kUnknown) {}

  void run() {
    for (std::size_t i = 0; i < standing_.size(); ++i) decide(i);
  }

 private:
  enum class Standing : std::uint8_t { kUnknown, kOnPath, kReached, kLost };

  std::size_t index_of(InodeNumber number) const {
    const auto found = std::ranges::lower_bound(state_.directories, number, {}, &DirectoryRecord::number);
    return static_cast<std::size_t>(found - state_.directories.begin());
  }

  void decide(std::size_t start) {
    std::vector<std::size_t> path;
    std::size_t at = start;
    Standing end = Standing::kUnknown;
    while (end == Standing::kUnknown) {
      const InodeNumber number = state_.directories[at].number;
      if (standing_[at] == Standing::kOnPath) {
        end = Standing::kLost;
        state_.findings.fault(Place::of_inode(number), "directories lead in a circle");
      } else if (standing_[at] != Standing::kUnknown) {
        end = standing_[at];
      } else {
        standing_[at] = Standing::kOnPath;
        path.push_back(at);
        const InodeNumber parent = state_.find(number)->parent;
        if (number == kRootInode) {
          end = Standing::kReached;
        } else if (parent == 0) {
          end = Standing::kLost;
          state_.findings.fault(Place::of_inode(number), "no directory leads to this one");
        } else {
          at = index_of(parent);
        }
      }
    }
    for (const std::size_t passed : path) standing_[passed] = end;
  }

  CheckState& state_;
  std::vector<Standing> standing_;
};

void check_dot_dot(CheckState& state) {
  for (const DirectoryRecord& directory : state.directories) {
    const InodeNumber parent = directory.number == kRootInode ? kRootInode : state.find(directory.number)->parent;
    // A missing parent or ".." is a fault already.
    if (parent != 0 && directory.dot_dot != 0 && directory.dot_dot != parent)
      state.findings.fault(Place::of_inode(directory.number), "\"..\" leads to inode {}, but the directory is in {}",
                           directory.dot_dot, parent);
  }
}

void check_links(CheckState& state) {
  for (const InodeRecord& inode : state.inodes) {
    const bool is_directory = inode.type == FileType::kDirectory;
    if (!is_directory && inode.links_found == 0) {
      state.findings.fault(Place::of_inode(inode.number), "no directory leads to it");
      continue;
    }
    const std::uint32_t due = is_directory && inode.links_found > kMostDirectoryLinks ? 1 : inode.links_found;
    if (due == inode.links_stated) continue;
    state.findings.fault(Place::of_inode(inode.number), "{} links, but it says {}", due, inode.links_stated);
  }
}

}  // namespace

void check_tree(CheckState& state) {
  Reach(state).run();
  check_dot_dot(state);
  check_links(state);
}

}  // namespace dadi::fs
