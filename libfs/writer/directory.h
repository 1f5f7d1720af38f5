// A directory of the file system being planned: its names in memory. Its blocks are changed where needed, and written,
// at the layer's end. Small directories are one linear block, larger ones hash trees of one or two levels.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libfs/writer/directory_block.h"
#include "libfs/writer/extents.h"

namespace dadi::fs {

class Directory;

struct Child {
  InodeNumber inode = 0;
  std::uint8_t type = 0;                 // as in directory entries: EXT2_FT_…
  bool own = false;                      // this layer declared it
  std::int64_t leaf = -1;                // the logical block of its entry; -1 while it has none
  std::unique_ptr<Directory> directory;  // once it was visited

  bool is_directory() const;
};

// What directories are read from and written to. Borrowed references.
struct DirectoryHost {
  Ext2FileSystem& fs;
  LayerDevice& device;
  InodeTable& inodes;
  BlockAllocator& allocator;
};

// One thread at a time.
class Directory {
 public:
  // A directory that this layer creates.
  Directory(InodeNumber number, InodeNumber parent) : number_(number), parent_(parent), created_(true) {}

  // A directory of the layers below. Errors: corruption, unsupported, those of the device.
  static Result<std::unique_ptr<Directory>> load(DirectoryHost& host, InodeNumber number);

  InodeNumber number() const { return number_; }
  bool created() const { return created_; }

  // This layer declared the directory, or something in it or below it: whiteouts of lower content spare it.
  bool touched = false;
  bool declared = false;  // this layer declared the directory itself
  bool hidden = false;    // nothing in it or below it is a lower layer's any more

  Child* find(std::string_view name);
  std::map<std::string, Child, std::less<>>& children() { return children_; }

  // REQUIRES: no such name yet.
  Child& add(std::string_view name, InodeNumber inode, std::uint8_t type);
  Result<void> remove(std::string_view name);
  // The name now stands for another inode.
  void retarget(std::string_view name, Child& child, InodeNumber inode, std::uint8_t type);

  // Places new entries, in the order of their names, and writes changed blocks, and the inode's size, links and
  // extents. Call once, last.
  Result<void> write(DirectoryHost& host);

 private:
  struct Leaf {
    std::uint32_t hash;  // the lowest in the leaf; its lowest bit: the hash goes on from the leaf before
    std::uint32_t logical;
  };
  struct IndexNode {
    std::uint32_t hash;
    std::uint32_t logical;  // 0: the root itself
    std::vector<Leaf> leaves;
  };
  struct LeafBlock {
    std::unique_ptr<Block> content;  // none: an index block, or a leaf that was not looked into
    bool dirty = false;
  };
  // An entry whose leaf has yet to be told that it is gone, or stands for another inode.
  struct Edit {
    std::uint32_t leaf;
    std::string name;
  };

  Directory() = default;
  Result<void> load_index(const Block& root, DirectoryHost& host);
  Result<void> load_leaf(std::uint32_t logical, Block& block, bool checksums);
  Result<DirectoryLeaf> leaf(DirectoryHost& host, std::uint32_t logical);
  Result<void> apply_edits(DirectoryHost& host);
  Result<std::uint32_t> hash_of(DirectoryHost& host, std::string_view name, std::uint32_t* minor) const;
  Result<bool> place(DirectoryHost& host, const std::string& name, Child& child);
  Result<bool> split(DirectoryHost& host, IndexNode& node, std::size_t position);
  Result<void> rebuild(DirectoryHost& host);
  Result<void> rebuild_as_tree(DirectoryHost& host);
  void rebuild_as_block(bool checksums);
  Result<void> resize(DirectoryHost& host);
  Result<void> count_links(DirectoryHost& host);
  Result<void> put_leaves(DirectoryHost& host);
  Result<void> put_index(DirectoryHost& host);
  std::uint32_t new_leaf(bool checksums);

  InodeNumber number_ = 0;
  InodeNumber parent_ = 0;
  bool created_ = false;
  bool changed_ = false;
  std::uint64_t first_fresh_ = 0;  // blocks from this one on were allocated by this layer
  std::map<std::string, Child, std::less<>> children_;

  std::vector<LeafBlock> blocks_;  // by logical number
  std::vector<IndexNode> index_;   // none: linear
  unsigned hash_version_ = 0;
  ExtentTree extents_;
  std::vector<Edit> removed_;
  std::vector<Edit> retargeted_;
};

}  // namespace dadi::fs
