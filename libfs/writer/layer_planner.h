// Applies one OCI layer to the file system that the layers below it left: the planned ext4 writer. File data is given
// its place when it arrives and goes straight on to the layer; everything else is kept in memory and written, in a
// fixed order, by finish(). The result depends on the device below and the archive alone. Semantics: the table "OCI
// semantics" of ext4.md; tests/fs holds a test for each of its rows.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "libfs/layer_archive.h"
#include "libfs/writer/allocator.h"
#include "libfs/writer/directory.h"
#include "libfs/writer/extents.h"
#include "libfs/writer/inode_table.h"
#include "libfs/writer/xattr_area.h"

namespace dadi::fs {

// One thread at a time.
class LayerPlanner {
 public:
  // Plans on the file system of `device`, which is borrowed.
  // Errors: those of Ext2FileSystem::open.
  static Result<std::unique_ptr<LayerPlanner>> open(LayerDevice& device);
  // And on one that it makes there. Errors: those of Ext2FileSystem::format.
  static Result<std::unique_ptr<LayerPlanner>> format(LayerDevice& device, const FormatOptions& options);

  // Applies every entry of the archive, in order. After an error the planner is good for destruction only.
  // Errors, with the entry as context: those of the archive; corruption (an entry that cannot be applied: a file where
  // a directory is needed, a hardlink to nothing, a reserved whiteout …); exhausted (no block or inode left);
  // unsupported (attributes that ext4 cannot hold).
  Result<void> apply(EntrySource& archive);

  // Writes all metadata. Call once.
  Result<void> finish();

  std::uint64_t entries() const { return entries_; }
  // Entries with times that ext4 cannot hold: the nearest that it can stands for them, as when the kernel writes.
  std::uint64_t clamped_times() const { return clamped_times_; }
  // Whether an error was that the file system is too small, as opposed to the disk that the layer is written to.
  bool out_of_room() const { return blocks_.exhausted() || inode_numbers_.exhausted(); }

 private:
  using Stack = std::vector<Directory*>;  // from the root down to a directory

  explicit LayerPlanner(LayerDevice& device, Ext2FileSystem fs);
  static Result<std::unique_ptr<LayerPlanner>> on(LayerDevice& device, Ext2FileSystem fs);

  // Walking.
  Result<Directory*> visit(Child& child);
  Result<Stack> walk(const std::vector<std::string>& components, bool create);
  Result<bool> walk_to_parent(std::string_view path);
  Result<std::string> link_target(InodeNumber number);
  Result<Directory*> make_directory(Directory& parent, std::string_view name);
  Result<void> adopt_lost_and_found(Directory& directory);

  // Entries.
  Result<void> add(const ArchiveEntry& entry, EntrySource& archive);
  Result<void> declare_root(const ArchiveEntry& entry);
  Result<void> whiteout(Directory& parent, std::string_view name);
  Result<void> hide_lower(Directory& directory);
  Result<void> hide_lower_child(Directory& parent, const std::string& name);
  Result<void> add_directory(Directory& parent, std::string_view name, const Attributes& attributes);
  Result<void> add_hardlink(Directory& parent, std::string_view name, const std::string& target);
  Result<void> add_other(Directory& parent, std::string_view name, const ArchiveEntry& entry, EntrySource& archive);
  Result<CachedInode*> inode_for(Directory& parent, std::string_view name, std::uint8_t type, InodeNumber& number);
  Result<void> write_file(EntrySource& archive, InodeNumber number, CachedInode& inode);
  Result<void> set_xattrs(InodeNumber number, CachedInode& inode, const Xattrs& xattrs);
  Result<void> set_directory_attributes(Directory& directory, const Attributes& attributes);

  // Removal.
  Result<void> remove(Directory& parent, std::string_view name);
  Result<void> release_tree(Child& child);
  Result<void> unlink(InodeNumber number);
  Result<void> release_content(InodeNumber number, CachedInode& inode);
  Result<void> release_xattr_block(CachedInode& inode);
  Result<void> release_blocks(const CachedInode& inode, BlockRange range);

  // Finishing.
  Result<void> write_directories();
  Result<void> write_symlinks();
  Result<void> write_fragmented();
  Result<void> write_xattr_blocks();

  LayerDevice& device_;
  Ext2FileSystem fs_;
  BlockAllocator blocks_;
  InodeAllocator inode_numbers_;
  InodeTable inodes_;
  DirectoryHost host_;
  std::unique_ptr<Directory> root_;
  // The entry being added, or the one before: most lie where that lay.
  Stack parents_;            // down to where it lies
  std::string name_;         // in there
  std::string parent_path_;  // as in the archive; leads to parents_ as long as nothing was removed
  bool knows_parent_ = false;
  // What waits for blocks until the end, by inode.
  std::map<InodeNumber, std::string> long_symlinks_;
  std::map<InodeNumber, ExtentList> fragmented_;
  BlockStore xattr_blocks_;
  std::uint64_t entries_ = 0;
  std::uint64_t clamped_times_ = 0;
};

}  // namespace dadi::fs
