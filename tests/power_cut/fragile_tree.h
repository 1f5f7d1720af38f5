// A tree of files in memory that knows what a power cut would leave of it.
//
// Contents last when the file was fsynced, names when their folder was: what POSIX promises, and no more than that.
// File systems keep more than that most of the time, which is why programs that rely on it go unnoticed.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

namespace dadi::power_cut {

struct Node;
using NodePtr = std::shared_ptr<Node>;

struct Node {
  Node(std::uint64_t number, mode_t node_mode) : ino(number), mode(node_mode) {}
  bool is_folder() const { return S_ISDIR(mode); }
  void sync() {
    lasting_content = content;
    lasting_names = names;
  }

  std::uint64_t ino;
  mode_t mode;
  std::string content, lasting_content;                 // of files
  std::map<std::string, NodePtr> names, lasting_names;  // of folders
};

// Not thread-safe.
class FragileTree {
 public:
  FragileTree() : root_(make(S_IFDIR | 0755)) {}

  NodePtr make(mode_t mode) { return std::make_shared<Node>(++last_ino_, mode); }
  NodePtr find(const std::string& path) const;
  // The folder that a path is in, and its last part. No folder: there is none.
  std::pair<NodePtr, std::string> parent(const std::string& path) const;

  // All that is in a folder of the host's; lasting.
  void load(const std::filesystem::path& folder);
  // What a power cut leaves, into a new folder of the host's. Of what was not synced: with seed 0 nothing is left; with
  // another each name and each page of 4 KiB is left or not, by lot.
  void leave(const std::filesystem::path& folder, std::uint32_t seed) const;

 private:
  std::uint64_t last_ino_ = 0;
  NodePtr root_;
};

}  // namespace dadi::power_cut
