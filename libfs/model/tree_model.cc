#include "libfs/model/tree_model.h"

#include <utility>

#include "libfs/archive_text.h"
#include "libfs/model/content_digest.h"

namespace dadi::fs {

namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kReserved = ".wh..wh.";  // aufs' own bookkeeping, which is left out, but for:
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr std::size_t kLongestName = 255;
constexpr std::size_t kDeepest = 2048;
constexpr int kMostSymlinks = 40;
constexpr int kMostSteps = 4096;

Attributes implicit_directory() {
  Attributes attributes;
  attributes.type = FileType::kDirectory;
  attributes.permissions = 0755;
  return attributes;
}

// The parts between slashes that are neither empty nor ".".
std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  std::string part;
  const auto end_part = [&] {
    if (!part.empty() && part != ".") parts.push_back(part);
    part.clear();
  };
  for (const char c : path) {
    if (c == '/') {
      end_part();
    } else {
      part += c;
    }
  }
  end_part();
  return parts;
}

// The parts of an entry's path: ".." takes back the part before it, whatever that names, and nothing at the root.
std::vector<std::string> cleaned(std::string_view path) {
  std::vector<std::string> parts;
  for (std::string& part : parts_of(path)) {
    if (part != "..") {
      parts.push_back(std::move(part));
    } else if (!parts.empty()) {
      parts.pop_back();
    }
  }
  return parts;
}

bool is_bookkeeping(const std::vector<std::string>& path) {
  for (std::size_t i = 0; i < path.size(); ++i) {
    const bool marker = i + 1 == path.size() && path[i] == kOpaque;
    if (path[i].starts_with(kReserved) && !marker) return true;
  }
  return false;
}

Error too_deep() {
  return Error::unsupported("directories nested more than {} deep", kDeepest);
}

// Of a regular file: what it holds, read to its end.
Result<std::optional<Digest>> read_content(const ArchiveEntry& entry, LayerArchive& archive) {
  if (entry.hardlink || entry.attributes.type != FileType::kRegular) return std::optional<Digest>();
  ContentDigest digest;
  while (true) {
    DADI_TRY(const auto data, archive.next_data());
    if (!data) return std::optional(digest.finish());
    digest.add(data->offset, data->bytes);
  }
}

// Ends nodes without recursion: a tree may be deep. Nodes that have other names stay.
void take_apart(std::shared_ptr<TreeNode> top) {
  std::vector<std::shared_ptr<TreeNode>> rest;
  rest.push_back(std::move(top));
  while (!rest.empty()) {
    const std::shared_ptr<TreeNode> node = std::move(rest.back());
    rest.pop_back();
    for (auto& [name, child] : node->children) {
      --child.node->links;
      rest.push_back(std::move(child.node));
    }
    node->children.clear();
  }
}

}  // namespace

TreeModel::TreeModel() : root_(std::make_shared<TreeNode>()) {
  root_->attributes = implicit_directory();
}
TreeModel::~TreeModel() {
  take_apart(std::move(root_));
}

const TreeNode* TreeModel::find(std::string_view path) const {
  const TreeNode* node = root_.get();
  for (const std::string& part : parts_of(path)) {
    const auto child = node->children.find(part);
    if (child == node->children.end()) return nullptr;
    node = child->second.node.get();
  }
  return node;
}

Result<void> TreeModel::apply(LayerArchive& archive) {
  ++layer_;
  while (true) {
    DADI_TRY(const auto entry, archive.next_entry());
    if (!entry) return {};
    DADI_TRY(const auto content, read_content(*entry, archive).context("entry {}", in_quotes(entry->path)));
    DADI_CHECK(apply_entry(*entry, content).context("entry {}", in_quotes(entry->path)));
  }
}

Result<void> TreeModel::apply_entry(const ArchiveEntry& entry, const std::optional<Digest>& content) {
  Path path = cleaned(entry.path);
  if (path.empty()) return declare_root(entry);
  if (is_bookkeeping(path)) return {};
  const std::string name = std::move(path.back());
  path.pop_back();
  const bool whiteout = name.starts_with(kWhiteout);
  const std::string hidden = whiteout ? name.substr(kWhiteout.size()) : "";
  if (whiteout && (hidden.empty() || hidden == "." || hidden == ".."))
    return Error::corruption("a whiteout of no name");

  DADI_TRY(const Stack stack, parents(path));
  TreeNode& parent = *stack.back();
  if (name == kOpaque) {
    hide_lower_content(parent);
  } else if (whiteout) {
    hide_lower(parent, hidden);
  } else if (entry.hardlink) {
    return add_hardlink(parent, name, *entry.hardlink);
  } else if (entry.attributes.type == FileType::kDirectory) {
    if (stack.size() > kDeepest) return too_deep();
    add_directory(parent, name, entry.attributes);
  } else {
    add_file(parent, name, entry, content);
  }
  return {};
}

// --- adding

Result<void> TreeModel::declare_root(const ArchiveEntry& entry) {
  if (entry.hardlink || entry.attributes.type != FileType::kDirectory)
    return Error::corruption("the root, but not as a directory");
  root_->attributes = entry.attributes;
  root_->declared_in = layer_;
  return {};
}

void TreeModel::add_directory(TreeNode& parent, const std::string& name, const Attributes& attributes) {
  const auto there = parent.children.find(name);
  const bool keep = there != parent.children.end() && there->second.node->is_directory();
  TreeNode& directory = keep ? *there->second.node : make_directory(parent, name);
  directory.attributes = attributes;
  directory.touched_in = directory.declared_in = layer_;
}

Result<void> TreeModel::add_hardlink(TreeNode& parent, const std::string& name, const std::string& target) {
  Path path = cleaned(target);
  if (path.empty()) return Error::corruption("hardlink target {} is the root directory", in_quotes(target));
  const std::string last = std::move(path.back());
  path.pop_back();
  DADI_TRY(const auto stack, existing_parents(path).context("hardlink target {}", in_quotes(target)));
  const auto found = stack ? stack->back()->children.find(last) : decltype(root_->children)::iterator();
  if (!stack || found == stack->back()->children.end())
    return Error::corruption("hardlink target {} does not exist", in_quotes(target));
  std::shared_ptr<TreeNode> node = found->second.node;
  if (node->is_directory()) return Error::corruption("hardlink target {} is a directory", in_quotes(target));
  put(parent, name, std::move(node));
  return {};
}

void TreeModel::add_file(TreeNode& parent, const std::string& name, const ArchiveEntry& entry,
                         const std::optional<Digest>& content) {
  auto node = std::make_shared<TreeNode>();
  node->attributes = entry.attributes;
  node->symlink = entry.symlink;
  node->size = entry.size;
  node->content = content;
  put(parent, name, std::move(node));
}

TreeNode& TreeModel::make_directory(TreeNode& parent, const std::string& name) {
  auto node = std::make_shared<TreeNode>();
  node->attributes = implicit_directory();
  node->touched_in = layer_;  // also where a symlink's ".." leads away from it again
  node->hidden_in = layer_;
  TreeNode& directory = *node;
  put(parent, name, std::move(node));
  return directory;
}

// --- walking

// The directories on the way to `path`. All of them are this layer's own now; those that are missing are made.
Result<TreeModel::Stack> TreeModel::parents(const Path& path) {
  DADI_TRY(Stack stack, walk(path, true));
  for (TreeNode* directory : stack) directory->touched_in = layer_;
  return stack;
}

// The same, of what is there: none if something is missing.
Result<std::optional<TreeModel::Stack>> TreeModel::existing_parents(const Path& path) {
  DADI_TRY(Stack stack, walk(path, false));
  if (stack.empty()) return std::optional<Stack>();
  return std::optional<Stack>(std::move(stack));
}

// Goes down `path` from the root. A symlink on the way is replaced by its target's parts, which never lead out of the
// root; with `create`, what is missing there is made like everything else, as container runtimes do.
Result<TreeModel::Stack> TreeModel::walk(const Path& path, bool create) {
  Stack stack{root_.get()};
  Path steps(path.rbegin(), path.rend());  // the next one last
  int symlinks = 0;
  for (int taken = 1; !steps.empty(); ++taken) {
    if (taken > kMostSteps) return Error::corruption("its path leads through more than {} names", kMostSteps);
    const std::string step = std::move(steps.back());
    steps.pop_back();
    if (step == "..") {
      if (stack.size() > 1) stack.pop_back();
      continue;
    }
    TreeNode& here = *stack.back();
    const auto child = here.children.find(step);
    const bool missing = child == here.children.end();
    if (missing && !create) return Stack{};
    if (!missing && child->second.node->attributes.type == FileType::kSymlink) {
      if (++symlinks > kMostSymlinks) return Error::corruption("more than {} symlinks in its path", kMostSymlinks);
      const std::string& target = child->second.node->symlink;
      if (target.starts_with('/')) stack.resize(1);
      const Path parts = parts_of(target);
      steps.insert(steps.end(), parts.rbegin(), parts.rend());
      continue;
    }
    if (!missing && !child->second.node->is_directory())
      return Error::corruption("its parent {} is not a directory", in_quotes(step));
    if (step.size() > kLongestName) return Error::unsupported("a parent's name of {} bytes", step.size());
    if (stack.size() > kDeepest) return too_deep();
    stack.push_back(missing ? &make_directory(here, step) : child->second.node.get());
  }
  return stack;
}

// --- hiding and removing

// Removes everything that lower layers have in a directory.
void TreeModel::hide_lower_content(TreeNode& directory) {
  if (directory.hidden_in == layer_) return;
  Path names;
  for (const auto& [name, child] : directory.children) names.push_back(name);
  for (const std::string& name : names) hide_lower(directory, name);
  directory.hidden_in = layer_;
}

// Removes what lower layers have under a name. Of a directory in which this layer has paths of its own these stay, as
// if they had been added to nothing: so the order of a layer's entries does not matter.
void TreeModel::hide_lower(TreeNode& parent, const std::string& name) {
  const auto found = parent.children.find(name);
  if (found == parent.children.end()) return;
  TreeNode& node = *found->second.node;
  const bool own = node.is_directory() ? node.touched_in == layer_ : found->second.layer == layer_;
  if (!own) return remove(parent, name);
  if (!node.is_directory()) return;
  if (node.declared_in != layer_) node.attributes = implicit_directory();
  hide_lower_content(node);
}

// Gives `node` a name, instead of whatever has it.
void TreeModel::put(TreeNode& parent, const std::string& name, std::shared_ptr<TreeNode> node) {
  ++node->links;  // before the removal, which may take another name of it
  remove(parent, name);
  parent.children[name] = TreeName{std::move(node), layer_};
}

void TreeModel::remove(TreeNode& parent, const std::string& name) {
  const auto found = parent.children.find(name);
  if (found == parent.children.end()) return;
  --found->second.node->links;
  take_apart(std::move(found->second.node));
  parent.children.erase(found);
}

}  // namespace dadi::fs
