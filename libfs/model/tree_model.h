// What the layers of an image mean, as a tree in memory: OCI's semantics in their plainest form, to compare file
// systems with. It shares no code with the writer, so that the two can be held against each other. Source: ext4.md, the
// table "OCI semantics".
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libformat/base/digest.h"
#include "libfs/layer_archive.h"

namespace dadi::fs {

struct TreeNode;

// A name in a directory. Several names may share one node: hardlinks.
struct TreeName {
  std::shared_ptr<TreeNode> node;
  unsigned layer = 0;  // that gave the name, counted from 1
};

// A file of any type, a directory too.
struct TreeNode {
  Attributes attributes;
  unsigned links = 0;             // names of it; the root has none
  std::string symlink;            // target
  Bytes size;                     // of a regular file
  std::optional<Digest> content;  // of a regular file, see ContentDigest
  std::map<std::string, TreeName, std::less<>> children;

  // Of directories, what whiteouts must spare: the last layer that has a path of its own in here, and the last that has
  // an entry for the directory itself. 0: none.
  unsigned touched_in = 0;
  unsigned declared_in = 0;
  unsigned hidden_in = 0;  // the last layer after whose entries so far nothing in here is a lower layer's

  bool is_directory() const { return attributes.type == FileType::kDirectory; }
};

// One thread at a time; const methods from any number of threads. Memory: some 300 bytes a file, none for content.
class TreeModel {
 public:
  // An empty root directory, with the attributes of an implicit parent: 0755, root's, of 1970.
  TreeModel();
  ~TreeModel();
  TreeModel(const TreeModel&) = delete;
  TreeModel& operator=(const TreeModel&) = delete;

  // Applies the next layer, the bottom one first; reads the archive to its end. After an error the model is good for
  // destruction only.
  // Errors, with the entry as context: those of the archive; corruption (an entry that cannot be applied); unsupported
  // (directories nested more than 2048 deep; a symlink among parents that leads to a missing name of over 255 bytes).
  Result<void> apply(LayerArchive& archive);

  const TreeNode& root() const { return *root_; }
  // What `path` names; symlinks are not followed. Null if there is nothing.
  const TreeNode* find(std::string_view path) const;

 private:
  using Path = std::vector<std::string>;
  using Stack = std::vector<TreeNode*>;  // from the root down to a directory

  Result<void> apply_entry(const ArchiveEntry& entry, const std::optional<Digest>& content);
  Result<void> declare_root(const ArchiveEntry& entry);
  Result<void> add_hardlink(TreeNode& parent, const std::string& name, const std::string& target);
  void add_file(TreeNode& parent, const std::string& name, const ArchiveEntry& entry,
                const std::optional<Digest>& content);
  void add_directory(TreeNode& parent, const std::string& name, const Attributes& attributes);

  Result<Stack> parents(const Path& path);
  Result<std::optional<Stack>> existing_parents(const Path& path);
  Result<Stack> walk(const Path& path, bool create);
  TreeNode& make_directory(TreeNode& parent, const std::string& name);

  void hide_lower_content(TreeNode& directory);
  void hide_lower(TreeNode& parent, const std::string& name);
  void put(TreeNode& parent, const std::string& name, std::shared_ptr<TreeNode> node);
  void remove(TreeNode& parent, const std::string& name);

  std::shared_ptr<TreeNode> root_;
  unsigned layer_ = 0;  // that is being applied, or was applied last
};

}  // namespace dadi::fs
