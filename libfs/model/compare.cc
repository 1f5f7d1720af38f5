#include "libfs/model/compare.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <unordered_map>
#include <vector>

#include "libfs/archive_text.h"
#include "libfs/model/content_digest.h"

namespace dadi::fs {

namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;
constexpr std::string_view kLostAndFound = "lost+found";
constexpr std::uint32_t kMostDirectoryLinks = 65000;  // from here on ext4 counts a directory's links as 1

using Difference = std::optional<std::string>;

const char* type_name(FileType type) {
  switch (type) {
    case FileType::kRegular:
      return "a regular file";
    case FileType::kDirectory:
      return "a directory";
    case FileType::kSymlink:
      return "a symlink";
    case FileType::kCharacterDevice:
      return "a character device";
    case FileType::kBlockDevice:
      return "a block device";
    case FileType::kFifo:
      return "a fifo";
    case FileType::kSocket:
      return "a socket";
  }
  return "nothing known";
}

std::string in_words(Timestamp time) {
  return fmt::format("{} s + {} ns", time.seconds, time.nanoseconds);
}

// An attribute's value: binary ones are short, and an error shows only so much of the others.
std::string in_words(const std::string& value) {
  return fmt::format("{} ({} bytes)", in_quotes(value), value.size());
}

Difference differs(std::string_view what, const auto& is, const auto& should_be) {
  return fmt::format("{} {}, should be {}", what, is, should_be);
}

// What ext4 has for a time: the nearest that it can hold. 34 bits of seconds count from -2^31 on.
Timestamp in_ext4(Timestamp time) {
  constexpr std::int64_t kFirst = -2147483648;
  constexpr std::int64_t kLast = 15032385535;
  if (time.seconds < kFirst) return {kFirst, 0};
  return time.seconds > kLast ? Timestamp{kLast, 0} : time;
}

Difference compare_xattrs(const Xattrs& is, const Xattrs& should_be) {
  for (const auto& [name, value] : should_be) {
    const auto found = is.find(name);
    if (found == is.end()) return fmt::format("no attribute {}", in_quotes(name));
    if (found->second != value)
      return differs("attribute " + in_quotes(name) + " has the value", in_words(found->second), in_words(value));
  }
  for (const auto& [name, value] : is) {
    if (!should_be.contains(name)) return fmt::format("an attribute too many, {}", in_quotes(name));
  }
  return std::nullopt;
}

Difference compare_attributes(const Attributes& is, const Attributes& should_be) {
  if (is.type != should_be.type) return fmt::format("{}, should be {}", type_name(is.type), type_name(should_be.type));
  if (is.permissions != should_be.permissions)
    return fmt::format("permissions {:04o}, should be {:04o}", is.permissions, should_be.permissions);
  if (is.uid != should_be.uid) return differs("user id", is.uid, should_be.uid);
  if (is.gid != should_be.gid) return differs("group id", is.gid, should_be.gid);
  if (const Timestamp mtime = in_ext4(should_be.mtime); is.mtime != mtime)
    return differs("mtime", in_words(is.mtime), in_words(mtime));
  if (is.device_major != should_be.device_major)
    return differs("major number", is.device_major, should_be.device_major);
  if (is.device_minor != should_be.device_minor)
    return differs("minor number", is.device_minor, should_be.device_minor);
  return compare_xattrs(is.xattrs, should_be.xattrs);
}

class Comparison {
 public:
  Comparison(const TreeModel& model, const Volume& volume, const CompareProgress& progress)
      : model_(model), volume_(volume), progress_(progress) {}

  Result<Difference> run();

 private:
  struct Directory {
    const TreeNode* node;
    Inode inode;
    std::string path;  // ends in a slash
  };

  Result<Difference> compare_directory(const Directory& directory);
  Result<Difference> compare_child(const Directory& directory, const std::string& name, const TreeNode& node,
                                   InodeNumber number);
  Result<Difference> compare_inode(const TreeNode& node, const Inode& inode);
  std::uint32_t directory_links(const TreeNode& node) const;
  Result<Difference> compare_content(const TreeNode& node, const Inode& inode);
  Difference compare_group(const TreeNode& node, InodeNumber number);

  const TreeModel& model_;
  const Volume& volume_;
  const CompareProgress& progress_;
  bool has_lost_and_found_ = false;  // one that the model lacks
  std::vector<Directory> waiting_;   // the next one last
  Bytes read_;
  // Files with several names, both ways.
  std::unordered_map<const TreeNode*, InodeNumber> inode_of_;
  std::unordered_map<InodeNumber, const TreeNode*> node_of_;
};

Result<Difference> Comparison::run() {
  DADI_TRY(const Inode root, volume_.inode(kRootInode));
  DADI_TRY(const auto entries, volume_.list(root));
  has_lost_and_found_ = !model_.root().children.contains(kLostAndFound) &&
                        std::ranges::find(entries, kLostAndFound, &DirectoryEntry::name) != entries.end();
  DADI_TRY(auto difference, compare_inode(model_.root(), root).context("\"/\""));
  if (difference) return "\"/\": " + *difference;
  waiting_.push_back({&model_.root(), root, "/"});
  while (!waiting_.empty()) {
    const Directory directory = std::move(waiting_.back());
    waiting_.pop_back();
    DADI_TRY(difference, compare_directory(directory));
    if (difference) return difference;
  }
  return Difference();
}

Result<Difference> Comparison::compare_directory(const Directory& directory) {
  DADI_TRY(const auto entries, volume_.list(directory.inode).context("{}", in_quotes(directory.path)));
  std::map<std::string, InodeNumber, std::less<>> there;
  for (const DirectoryEntry& entry : entries) {
    if (!there.emplace(entry.name, entry.inode).second)
      return in_quotes(directory.path) + ": the name " + in_quotes(entry.name) + " twice";
  }
  if (has_lost_and_found_ && directory.node == &model_.root()) there.erase(there.find(kLostAndFound));
  const std::size_t first = waiting_.size();
  for (const auto& [name, child] : directory.node->children) {
    const auto found = there.find(name);
    if (found == there.end()) return in_quotes(directory.path + name) + ": missing";
    DADI_TRY(
        auto difference,
        compare_child(directory, name, *child.node, found->second).context("{}", in_quotes(directory.path + name)));
    if (difference) return in_quotes(directory.path + name) + ": " + *difference;
    there.erase(found);
  }
  if (!there.empty()) return in_quotes(directory.path + there.begin()->first) + ": should not be there";
  const std::uint32_t links = directory_links(*directory.node);
  if (directory.inode.links != links)
    return in_quotes(directory.path) + ": " + *differs("link count", directory.inode.links, links);
  std::reverse(waiting_.begin() + static_cast<std::ptrdiff_t>(first), waiting_.end());
  return Difference();
}

Result<Difference> Comparison::compare_child(const Directory& directory, const std::string& name, const TreeNode& node,
                                             InodeNumber number) {
  if (node.links > 1) {
    const bool known = inode_of_.contains(&node);
    if (Difference difference = compare_group(node, number)) return difference;
    if (known) return Difference();  // compared under another name
  } else if (node_of_.contains(number)) {
    return Difference("a hardlink, should be a file of its own");
  }
  DADI_TRY(const Inode inode, volume_.inode(number));
  if (node.is_directory()) waiting_.push_back({&node, inode, directory.path + name + "/"});
  return compare_inode(node, inode);
}

// Names of one node must be names of one inode, and the other way round.
Difference Comparison::compare_group(const TreeNode& node, InodeNumber number) {
  const InodeNumber expected = inode_of_.emplace(&node, number).first->second;
  if (expected != number) return "not a hardlink of the file that it should be";
  if (node_of_.emplace(number, &node).first->second != &node) return "a hardlink of another file than it should be";
  return std::nullopt;
}

Result<Difference> Comparison::compare_inode(const TreeNode& node, const Inode& inode) {
  Attributes attributes = inode.attributes;
  DADI_TRY(attributes.xattrs, volume_.xattrs(inode));
  if (auto difference = compare_attributes(attributes, node.attributes)) return difference;
  if (!node.is_directory() && inode.links != node.links) return differs("link count", inode.links, node.links);
  if (node.attributes.type == FileType::kSymlink) {
    DADI_TRY(const std::string target, volume_.read_link(inode));
    if (target != node.symlink) return differs("symlink target", in_quotes(target), in_quotes(node.symlink));
  }
  if (node.attributes.type == FileType::kRegular) return compare_content(node, inode);
  return Difference();
}

// Its own name, its "." and the ".." of each directory in it.
std::uint32_t Comparison::directory_links(const TreeNode& node) const {
  const auto is_directory = [](const auto& child) { return child.second.node->is_directory(); };
  auto links = 2 + static_cast<std::uint32_t>(std::ranges::count_if(node.children, is_directory));
  if (has_lost_and_found_ && &node == &model_.root()) ++links;
  return links < kMostDirectoryLinks ? links : 1;
}

Result<Difference> Comparison::compare_content(const TreeNode& node, const Inode& inode) {
  if (inode.size != node.size) return differs("size", inode.size.value, node.size.value);
  const std::uint64_t block_size = volume_.superblock().block_size;
  ContentDigest digest;
  std::vector<std::byte> piece(std::min<std::uint64_t>(kPiece, node.size.value));
  DADI_TRY(const auto extents, volume_.extents(inode));
  for (const FileExtent& extent : extents) {
    if (extent.unwritten) continue;
    const std::uint64_t end = std::min((extent.logical + extent.count) * block_size, node.size.value);
    for (std::uint64_t at = extent.logical * block_size; at < end;) {
      const auto part = std::span(piece).first(std::min<std::uint64_t>(piece.size(), end - at));
      DADI_CHECK(volume_.read(inode, Bytes{at}, part));
      digest.add(Bytes{at}, part);
      at += part.size();
      read_ += Bytes{part.size()};
      if (progress_) progress_(read_);
    }
  }
  if (node.content && digest.finish() != *node.content) return Difference("other content");
  return Difference();
}

}  // namespace

Result<std::optional<std::string>> first_difference(const TreeModel& model, const Volume& volume,
                                                    const CompareProgress& progress) {
  return Comparison(model, volume, progress).run();
}

}  // namespace dadi::fs
