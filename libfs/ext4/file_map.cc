#include "libfs/ext4/file_map.h"

#include <algorithm>
#include <unordered_set>

namespace dadi::fs {

class FileMap::Walk {
 public:
  Walk(const Volume& volume, const std::stop_token& stop) : volume_(volume), stop_(stop) {}

  Result<FileMap> take() {
    DADI_TRY(const Inode root, volume_.inode(kRootInode));
    DADI_CHECK(visit("/", root));
    while (!directories_.empty()) {
      const auto [path, inode] = std::move(directories_.back());
      directories_.pop_back();
      if (stop_.stop_requested()) return Error::cancelled("stopped");
      DADI_TRY(const auto entries, volume_.list(inode).context("{}", path));
      for (const DirectoryEntry& entry : entries) {
        DADI_TRY(const Inode child, volume_.inode(entry.inode).context("{}{}", path, entry.name));
        DADI_CHECK(visit(path + entry.name, child).context("{}{}", path, entry.name));
      }
    }
    return FileMap(volume_.superblock().block_size, std::move(runs_), std::move(paths_));
  }

 private:
  Result<void> visit(std::string path, const Inode& inode) {
    const bool is_directory = inode.attributes.type == FileType::kDirectory;
    if (!seen_.insert(inode.number).second) {
      return is_directory ? Result<void>(Error::corruption("a directory that is in two places")) : Result<void>();
    }
    if (is_directory && path.back() != '/') path += '/';
    if (is_directory || inode.attributes.type == FileType::kRegular) {
      DADI_TRY(const auto extents, volume_.extents(inode));
      for (const FileExtent& extent : extents) {
        runs_.push_back({extent.physical, extent.physical + extent.count, static_cast<std::uint32_t>(paths_.size())});
      }
      if (!extents.empty()) paths_.push_back(path);
    }
    if (is_directory) directories_.emplace_back(std::move(path), inode);
    return {};
  }

  const Volume& volume_;
  const std::stop_token& stop_;
  std::vector<Run> runs_;
  std::vector<std::string> paths_;
  std::vector<std::pair<std::string, Inode>> directories_;  // to be listed
  std::unordered_set<InodeNumber> seen_;
};

Result<FileMap> FileMap::make(const Volume& volume, const std::stop_token& stop) {
  return Walk(volume, stop).take();
}

FileMap::FileMap(std::uint64_t block_size, std::vector<Run> runs, std::vector<std::string> paths)
    : block_size_(block_size), runs_(std::move(runs)), paths_(std::move(paths)) {
  std::ranges::sort(runs_, {}, [](const Run& run) { return std::pair(run.begin, run.path); });
  std::uint64_t end = 0;
  for (Run& run : runs_) {  // where files overlap, the one that begins first has it
    run.begin = std::max(run.begin, end);
    end = std::max(end, run.end);
  }
  std::erase_if(runs_, [](const Run& run) { return run.begin >= run.end; });
}

FileMap::Place FileMap::at(Bytes at) const {
  const std::uint64_t block = at.value / block_size_;
  const auto next = std::ranges::upper_bound(runs_, block, {}, &Run::begin);
  if (next != runs_.begin() && block < std::prev(next)->end) {
    const Run& run = *std::prev(next);
    return {paths_[run.path], {run.end * block_size_}};
  }
  return {"", {next == runs_.end() ? ~std::uint64_t{0} : next->begin * block_size_}};
}

}  // namespace dadi::fs
