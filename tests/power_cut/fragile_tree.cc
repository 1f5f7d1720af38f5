#include "tests/power_cut/fragile_tree.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <vector>

namespace dadi::power_cut {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPage = 4096;

class Lots {
 public:
  explicit Lots(std::uint32_t seed) : none_(seed == 0), generator_(seed) {}
  bool is_left() { return !none_ && (generator_() & 1) != 0; }

 private:
  bool none_;
  std::mt19937 generator_;
};

void load_into(FragileTree& tree, const NodePtr& folder, const fs::path& path) {
  for (const auto& entry : fs::directory_iterator(path)) {
    const bool is_folder = entry.is_directory();
    const NodePtr node = tree.make(is_folder ? S_IFDIR | 0755 : S_IFREG | 0644);
    folder->names[entry.path().filename().string()] = node;
    if (is_folder) {
      load_into(tree, node, entry.path());
      continue;
    }
    std::ifstream file(entry.path(), std::ios::binary);
    node->content.assign(std::istreambuf_iterator<char>(file), {});
    node->sync();
  }
  folder->sync();
}

std::string content_left(const Node& node, Lots& lots) {
  if (node.content == node.lasting_content) return node.content;
  std::string left = node.lasting_content;
  if (lots.is_left()) left.resize(node.content.size());
  for (std::size_t at = 0; at < left.size(); at += kPage) {
    const std::size_t size = std::min(kPage, left.size() - at);
    if (at + size <= node.content.size() && lots.is_left()) left.replace(at, size, node.content, at, size);
  }
  return left;
}

std::map<std::string, NodePtr> names_left(const Node& node, Lots& lots) {
  std::map<std::string, NodePtr> left = node.lasting_names;
  std::set<std::string> all;
  for (const auto& [name, child] : node.names) all.insert(name);
  for (const auto& [name, child] : node.lasting_names) all.insert(name);
  for (const std::string& name : all) {
    const auto now = node.names.find(name);
    const auto before = node.lasting_names.find(name);
    const bool same = now != node.names.end() && before != node.lasting_names.end() && now->second == before->second;
    if (same || !lots.is_left()) continue;
    left.erase(name);
    if (now != node.names.end()) left[name] = now->second;
  }
  return left;
}

void leave_folder(const Node& node, const fs::path& path, Lots& lots) {
  fs::create_directories(path);
  for (const auto& [name, child] : names_left(node, lots)) {
    if (child->is_folder()) {
      leave_folder(*child, path / name, lots);
      continue;
    }
    std::ofstream file(path / name, std::ios::binary);
    file << content_left(*child, lots);
  }
}

}  // namespace

NodePtr FragileTree::find(const std::string& path) const {
  NodePtr node = root_;
  for (std::size_t at = 1; at < path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const auto child = node->names.find(path.substr(at, end - at));
    if (child == node->names.end()) return nullptr;
    node = child->second;
    at = end + 1;
  }
  return node;
}

std::pair<NodePtr, std::string> FragileTree::parent(const std::string& path) const {
  const std::size_t slash = path.rfind('/');
  return {find(slash == 0 ? "/" : path.substr(0, slash)), path.substr(slash + 1)};
}

void FragileTree::load(const fs::path& folder) {
  load_into(*this, root_, folder);
}

void FragileTree::leave(const fs::path& folder, std::uint32_t seed) const {
  Lots lots(seed);
  leave_folder(*root_, folder, lots);
}

}  // namespace dadi::power_cut
