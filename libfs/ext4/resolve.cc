// Volume::resolve: paths, with symlinks followed inside the root.
#include <deque>

#include "libfs/ext4/volume.h"

namespace dadi::fs {
namespace {

constexpr std::size_t kLongestPath = 4096;  // as PATH_MAX; a symlink's target is bounded alike
constexpr int kMostSymlinks = 40;           // as the kernel's MAXSYMLINKS

// Puts the components of `path` in front of `todo`, empty ones and "." left out.
void push_components(std::string_view path, std::deque<std::string>& todo) {
  std::size_t end = path.size();
  while (end > 0) {
    const std::size_t slash = path.rfind('/', end - 1);
    const std::size_t begin = slash == path.npos ? 0 : slash + 1;
    const std::string_view component = path.substr(begin, end - begin);
    if (!component.empty() && component != ".") todo.emplace_front(component);
    end = slash == path.npos ? 0 : slash;
  }
}

}  // namespace

Result<Inode> Volume::resolve(std::string_view path, bool follow_last) const {
  if (path.size() > kLongestPath) return Error::invalid_argument("a path of {} bytes", path.size());
  // The inodes from the root to where the walk stands: ".." pops one, so that no entry of a directory is trusted with
  // it.
  DADI_TRY(Inode root, inode(kRootInode));
  std::vector<Inode> trail = {std::move(root)};
  std::deque<std::string> todo;
  push_components(path, todo);
  // A trailing slash asks for what a last symlink points to.
  const bool follow = follow_last || path.ends_with('/');

  for (int symlinks = 0; !todo.empty();) {
    const std::string name = std::move(todo.front());
    todo.pop_front();
    if (trail.back().attributes.type != FileType::kDirectory)
      return Error::invalid_argument("{}: what {} lies in is not a directory", path, name);
    if (name == "..") {
      if (trail.size() > 1) trail.pop_back();
      continue;
    }
    DADI_TRY(const auto number, lookup(trail.back(), name));
    if (!number) return Error::not_found("{}: no such file or directory", path);
    DADI_TRY(Inode next, inode(*number).context("{}", path));
    if (next.attributes.type != FileType::kSymlink || (todo.empty() && !follow)) {
      trail.push_back(std::move(next));
      continue;
    }
    if (++symlinks > kMostSymlinks) return Error::invalid_argument("{}: too many symlinks", path);
    DADI_TRY(const std::string target, read_link(next));
    if (target.size() > kLongestPath) return Error::invalid_argument("{}: a symlink of {} bytes", path, target.size());
    if (target.starts_with('/')) trail.resize(1);
    push_components(target, todo);
  }
  if (path.ends_with('/') && trail.back().attributes.type != FileType::kDirectory)
    return Error::invalid_argument("{}: not a directory", path);
  return trail.back();
}

}  // namespace dadi::fs
