#include "libfs/writer/layer_planner.h"

#include <algorithm>
#include <cstring>

#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"
#include "libfs/writer/path.h"

namespace dadi::fs {

namespace {

constexpr std::string_view kWhiteoutPrefix = ".wh.";
constexpr std::string_view kOpaqueMarker = ".wh..wh..opq";
constexpr std::string_view kLostAndFound = "lost+found";
constexpr std::size_t kDeepest = 2048;  // directories: what a path of 4096 bytes can name
constexpr int kMostSymlinks = 40;       // followed for one path, as the kernel does
constexpr int kMostSteps = 4096;        // for one path: symlinks to long paths through symlinks would multiply them
constexpr std::uint16_t kMostLinks = 65000;
constexpr std::size_t kFastSymlink = 60;  // targets below this are kept in the inode
// Freed blocks in a row, 64 KiB, that are worth the 16 bytes of saying that they read as zeros.
constexpr std::uint64_t kWorthARecord = 16;

// Names that aufs keeps for itself, of which one has a meaning as an entry: the opaque marker. As parents they have
// nothing below them that is the image's.
bool is_bookkeeping(std::string_view name) {
  return name.starts_with(".wh..wh.");
}

Attributes implicit_directory() {
  Attributes attributes;
  attributes.type = FileType::kDirectory;
  attributes.permissions = 0755;
  return attributes;
}

}  // namespace

LayerPlanner::LayerPlanner(LayerDevice& device, Ext2FileSystem fs)
    : device_(device),
      fs_(std::move(fs)),
      blocks_(fs_),
      inode_numbers_(fs_),
      inodes_(fs_, device_),
      host_{fs_, device_, inodes_, blocks_} {}

Result<std::unique_ptr<LayerPlanner>> LayerPlanner::open(LayerDevice& device) {
  DADI_TRY(Ext2FileSystem fs, Ext2FileSystem::open(device));
  return on(device, std::move(fs));
}

Result<std::unique_ptr<LayerPlanner>> LayerPlanner::format(LayerDevice& device, const FormatOptions& options) {
  DADI_TRY(Ext2FileSystem fs, Ext2FileSystem::format(device, options));
  return on(device, std::move(fs));
}

Result<std::unique_ptr<LayerPlanner>> LayerPlanner::on(LayerDevice& device, Ext2FileSystem fs) {
  std::unique_ptr<LayerPlanner> planner(new LayerPlanner(device, std::move(fs)));
  DADI_TRY(planner->root_, Directory::load(planner->host_, EXT2_ROOT_INO).context("root directory"));
  return planner;
}

Result<void> LayerPlanner::apply(EntrySource& archive) {
  while (true) {
    DADI_TRY(const auto entry, archive.next_entry());
    if (!entry) return {};
    ++entries_;
    DADI_CHECK(inodes_.make_room());
    if (!entry->hardlink && InodeImage::nearest_time(entry->attributes.mtime) != entry->attributes.mtime)
      ++clamped_times_;
    DADI_CHECK(add(*entry, archive).context("entry \"{}\"", entry->path));
  }
}

// ---- Walking -------------------------------------------------------------------------------------------------------

Result<Directory*> LayerPlanner::visit(Child& child) {
  if (!child.directory) {
    DADI_TRY(child.directory, Directory::load(host_, child.inode));
  }
  return child.directory.get();
}

Result<Directory*> LayerPlanner::make_directory(Directory& parent, std::string_view name) {
  DADI_TRY(const InodeNumber number, inode_numbers_.take(true));
  CachedInode& inode = inodes_.create(number, true);
  inode.image.set_attributes(implicit_directory());
  inode.image.set_links(2);
  Child& child = parent.add(name, number, EXT2_FT_DIR);
  child.own = true;
  child.directory = std::make_unique<Directory>(number, parent.number());
  child.directory->touched = child.directory->hidden = true;
  return child.directory.get();
}

Result<std::string> LayerPlanner::link_target(InodeNumber number) {
  if (const auto waiting = long_symlinks_.find(number); waiting != long_symlinks_.end()) return waiting->second;
  DADI_TRY(CachedInode * inode, inodes_.get(number));
  const InodeImage& image = inode->image;
  const std::uint64_t size = image.size();
  if (size >= kBlockSize) return Error::corruption("symlink inode {} has a target of {} bytes", number, size);
  if (size < kFastSymlink) return std::string(as_text(image.block_area().first(size)));
  DADI_TRY(const ExtentTree tree, read_extents(fs_, device_, image));
  DADI_TRY(const BlockNumber place, tree.extents.find(0));
  Block block;
  DADI_CHECK(device_.read(place, block));
  return std::string(as_text(std::span(block).first(size)));
}

// The directories from the root to `components`. Symlinks are followed, and stay inside the root. With `create`,
// missing directories are made, and all of them count as touched by this layer; without, a missing one gives an empty
// stack.
Result<LayerPlanner::Stack> LayerPlanner::walk(const std::vector<std::string>& components, bool create) {
  Stack stack{root_.get()};
  std::vector<std::string> rest(components.rbegin(), components.rend());
  for (int links = 0, steps = 0; !rest.empty();) {
    if (++steps > kMostSteps) return Error::corruption("its path leads through more than {} names", kMostSteps);
    const std::string name = std::move(rest.back());
    rest.pop_back();
    if (name == "..") {
      if (stack.size() > 1) stack.pop_back();
      continue;
    }
    Directory& here = *stack.back();
    Child* child = here.find(name);
    if (child == nullptr) {
      if (!create) return Stack{};
      if (name.size() > EXT2_NAME_LEN)  // out of a symlink's target: names of entries are shorter
        return Error::unsupported("a parent's name of {} bytes, {} at most", name.size(), EXT2_NAME_LEN);
      if (stack.size() > kDeepest) return Error::unsupported("directories nested more than {} deep", kDeepest);
      DADI_TRY(Directory * made, make_directory(here, name));
      stack.push_back(made);
    } else if (child->is_directory()) {
      if (stack.size() > kDeepest) return Error::unsupported("directories nested more than {} deep", kDeepest);
      DADI_TRY(Directory * next, visit(*child));
      if (create && stack.size() == 1 && name == kLostAndFound) DADI_CHECK(adopt_lost_and_found(*next));
      stack.push_back(next);
    } else if (child->type == EXT2_FT_SYMLINK) {
      if (++links > kMostSymlinks) return Error::corruption("more than {} symlinks in its path", kMostSymlinks);
      DADI_TRY(const std::string target, link_target(child->inode));
      if (target.starts_with('/')) stack.resize(1);
      const std::vector<std::string> parts = path_components(target);
      rest.insert(rest.end(), parts.rbegin(), parts.rend());
    } else {
      return Error::corruption("its parent \"{}\" is not a directory", name);
    }
  }
  if (create) {
    for (Directory* directory : stack) directory->touched = true;
  }
  return stack;
}

// The file system comes with a lost+found that no layer has declared. Once a layer has a path in it, it is an implicit
// parent like others.
Result<void> LayerPlanner::adopt_lost_and_found(Directory& directory) {
  if (directory.touched || !directory.children().empty()) return {};
  DADI_TRY(CachedInode * inode, inodes_.get(directory.number()));
  Attributes as_made = implicit_directory();
  as_made.permissions = 0700;
  InodeImage made = inode->image;
  made.set_attributes(as_made);
  if (!std::ranges::equal(made.raw(), inode->image.raw())) return {};
  return set_directory_attributes(directory, implicit_directory());
}

// ---- Entries -------------------------------------------------------------------------------------------------------

// Finds parents_ and name_, unless the path is to be passed over: false. Of the root the name is empty.
Result<bool> LayerPlanner::walk_to_parent(std::string_view path) {
  const std::string_view parent = path.substr(0, path.rfind('/') + 1);
  const std::string_view name = path.substr(parent.size());
  const bool plain = !name.empty() && name != "." && name != "..";
  const auto is_left_out = [](std::string_view last) { return is_bookkeeping(last) && last != kOpaqueMarker; };
  if (knows_parent_ && plain && parent == parent_path_) {
    name_ = name;
    return !is_left_out(name_);
  }
  knows_parent_ = false;
  name_.clear();
  std::vector<std::string> components = clean_path(path);
  if (components.empty()) return true;
  name_ = std::move(components.back());
  components.pop_back();
  if (std::ranges::any_of(components, is_bookkeeping) || is_left_out(name_)) return false;
  DADI_TRY(parents_, walk(components, true));
  parent_path_ = parent;
  knows_parent_ = plain;
  return true;
}

Result<void> LayerPlanner::add(const ArchiveEntry& entry, EntrySource& archive) {
  DADI_TRY(const bool wanted, walk_to_parent(entry.path));
  if (!wanted) return {};
  const std::string_view name = name_;
  if (name.empty()) return declare_root(entry);
  Directory& parent = *parents_.back();
  if (name.starts_with(kWhiteoutPrefix)) return whiteout(parent, name);
  if (entry.hardlink) return add_hardlink(parent, name, *entry.hardlink);
  if (entry.attributes.type == FileType::kDirectory) {
    if (parents_.size() > kDeepest) return Error::unsupported("directories nested more than {} deep", kDeepest);
    return add_directory(parent, name, entry.attributes);
  }
  return add_other(parent, name, entry, archive);
}

Result<void> LayerPlanner::declare_root(const ArchiveEntry& entry) {
  if (entry.hardlink || entry.attributes.type != FileType::kDirectory)
    return Error::corruption("it names the root, but is not a directory");
  root_->touched = root_->declared = true;
  return set_directory_attributes(*root_, entry.attributes);
}

Result<void> LayerPlanner::whiteout(Directory& parent, std::string_view name) {
  if (name == kOpaqueMarker) return hide_lower(parent);
  const std::string target(name.substr(kWhiteoutPrefix.size()));
  if (target.empty() || target == "." || target == "..") return Error::corruption("a whiteout that names no entry");
  return hide_lower_child(parent, target);
}

Result<void> LayerPlanner::hide_lower(Directory& directory) {
  if (directory.hidden) return {};  // once is enough, however often a hostile layer says it
  std::vector<std::string> names;
  for (const auto& [name, child] : directory.children()) names.push_back(name);
  for (const std::string& name : names) DADI_CHECK(hide_lower_child(directory, name));
  directory.hidden = true;
  return {};
}

// Removes what lower layers have under this name; what this layer put there stays.
Result<void> LayerPlanner::hide_lower_child(Directory& parent, const std::string& name) {
  Child* child = parent.find(name);
  if (child == nullptr) return {};
  const bool spared = child->is_directory() ? child->directory && child->directory->touched : child->own;
  if (!spared) return remove(parent, name);
  if (!child->is_directory()) return {};
  // Only the paths of this layer are left of the directory. Its own attributes too, unless this layer gave them.
  if (!child->directory->declared) DADI_CHECK(set_directory_attributes(*child->directory, implicit_directory()));
  return hide_lower(*child->directory);
}

Result<void> LayerPlanner::add_directory(Directory& parent, std::string_view name, const Attributes& attributes) {
  Child* child = parent.find(name);
  Directory* directory = nullptr;
  if (child != nullptr && child->is_directory()) {
    DADI_TRY(directory, visit(*child));
  } else {
    if (child != nullptr) DADI_CHECK(remove(parent, name));
    DADI_TRY(directory, make_directory(parent, name));
  }
  directory->touched = directory->declared = true;
  return set_directory_attributes(*directory, attributes);
}

Result<void> LayerPlanner::set_directory_attributes(Directory& directory, const Attributes& attributes) {
  DADI_TRY(CachedInode * inode, inodes_.get(directory.number()));
  inode->dirty = true;
  inode->image.set_attributes(attributes);
  return set_xattrs(directory.number(), *inode, attributes.xattrs);
}

Result<void> LayerPlanner::add_hardlink(Directory& parent, std::string_view name, const std::string& target) {
  std::vector<std::string> components = clean_path(target);
  const auto missing = [&] { return Error::corruption("hardlink target \"{}\" does not exist", target); };
  if (components.empty()) return Error::corruption("a hardlink to the root directory");
  const std::string last = std::move(components.back());
  components.pop_back();
  DADI_TRY(const Stack stack, walk(components, false).context("hardlink target \"{}\"", target));
  const Child* linked = stack.empty() ? nullptr : stack.back()->find(last);
  if (linked == nullptr) return missing();
  if (linked->is_directory()) return Error::corruption("hardlink target \"{}\" is a directory", target);
  const InodeNumber number = linked->inode;
  const std::uint8_t type = linked->type;
  if (Child* child = parent.find(name); child != nullptr && !child->is_directory() && child->inode == number) {
    child->own = true;
    return {};
  }
  DADI_TRY(CachedInode * inode, inodes_.get(number));
  if (inode->image.links() >= kMostLinks)
    return Error::unsupported("hardlink target \"{}\" has {} links already, the most that ext4 can count", target,
                              inode->image.links());
  inode->image.set_links(static_cast<std::uint16_t>(inode->image.links() + 1));
  inode->dirty = true;
  if (parent.find(name) != nullptr) DADI_CHECK(remove(parent, name));
  parent.add(name, number, type).own = true;
  return {};
}

// The inode for a new file: that of the file which it replaces where nobody else has it, else a new one. An inode that
// is used again costs a layer fewer changed blocks.
Result<CachedInode*> LayerPlanner::inode_for(Directory& parent, std::string_view name, std::uint8_t type,
                                             InodeNumber& number) {
  Child* child = parent.find(name);
  if (child != nullptr && !child->is_directory()) {
    DADI_TRY(CachedInode * inode, inodes_.get(child->inode));
    if (inode->image.links() == 1) {
      number = child->inode;
      DADI_CHECK(release_content(number, *inode));
      parent.retarget(name, *child, number, type);
      knows_parent_ = false;  // it may have been a symlink
      child->own = true;
      return &inodes_.create(number, true);
    }
  }
  if (child != nullptr) DADI_CHECK(remove(parent, name));
  DADI_TRY(number, inode_numbers_.take(false));
  parent.add(name, number, type).own = true;
  return &inodes_.create(number, true);
}

Result<void> LayerPlanner::add_other(Directory& parent, std::string_view name, const ArchiveEntry& entry,
                                     EntrySource& archive) {
  InodeImage attributes;  // only to have the type as a mode
  attributes.set_attributes(entry.attributes);
  InodeNumber number = 0;
  DADI_TRY(CachedInode * inode, inode_for(parent, name, directory_entry_type(attributes.mode()), number));
  inode->image.set_attributes(entry.attributes);
  inode->image.set_links(1);
  DADI_CHECK(set_xattrs(number, *inode, entry.attributes.xattrs));
  if (entry.attributes.type == FileType::kSymlink) {
    if (entry.symlink.empty()) return Error::corruption("a symlink without a target");
    if (entry.symlink.size() >= kBlockSize)
      return Error::unsupported("a symlink target of {} bytes", entry.symlink.size());
    inode->image.set_size(entry.symlink.size());
    if (entry.symlink.size() < kFastSymlink)
      std::memcpy(inode->image.block_area().data(), entry.symlink.data(), entry.symlink.size());
    else
      long_symlinks_[number] = entry.symlink;
  }
  if (entry.attributes.type != FileType::kRegular) return {};
  inode->image.set_size(entry.size.value);
  blocks_.prefer(divide_up(entry.size.value, kBlockSize));
  return write_file(archive, number, *inode);
}

Result<void> LayerPlanner::write_file(EntrySource& archive, InodeNumber number, CachedInode& inode) {
  ExtentList extents;
  const auto put = [&](std::uint64_t logical, std::span<const std::byte> blocks) -> Result<void> {
    while (!blocks.empty()) {
      DADI_TRY(const BlockRange taken, blocks_.take(blocks.size() / kBlockSize));
      const std::size_t length = taken.count * kBlockSize;
      DADI_CHECK(device_.write_data(taken.start, blocks.first(length)));
      extents.append(logical, taken);
      logical += taken.count;
      blocks = blocks.subspan(length);
    }
    return {};
  };
  // A block that pieces fill in part, at `assembled_at`, is put together here.
  Block assembled;
  constexpr std::uint64_t kNowhere = ~std::uint64_t{0};
  std::uint64_t assembled_at = kNowhere;
  const auto put_assembled = [&]() -> Result<void> {
    if (assembled_at == kNowhere) return {};
    DADI_CHECK(put(assembled_at, assembled));
    assembled_at = kNowhere;
    return {};
  };
  while (true) {
    DADI_TRY(const auto piece, archive.next_data());
    if (!piece) break;
    std::uint64_t at = piece->offset.value;
    for (std::span<const std::byte> left = piece->bytes; !left.empty();) {
      const std::uint64_t logical = at / kBlockSize;
      const std::size_t skip = at % kBlockSize;
      if (assembled_at != logical) DADI_CHECK(put_assembled());
      std::size_t length = std::min(left.size(), kBlockSize - skip);
      if (skip == 0 && left.size() >= kBlockSize) {
        length = left.size() / kBlockSize * kBlockSize;
        DADI_CHECK(put(logical, left.first(length)));
      } else {
        if (assembled_at != logical) assembled.fill(std::byte{0});
        std::memcpy(assembled.data() + skip, left.data(), length);
        assembled_at = logical;
      }
      at += length;
      left = left.subspan(length);
    }
  }
  DADI_CHECK(put_assembled());
  inode.image.set_blocks(inode.image.blocks() + extents.blocks());
  constexpr std::size_t kExtentsInInode = 4;
  if (extents.runs().size() > kExtentsInInode) {
    fragmented_[number] = std::move(extents);
    return {};
  }
  DADI_CHECK(write_extents(fs_, device_, blocks_, number, inode.image, extents, {}));
  return {};
}

Result<void> LayerPlanner::set_xattrs(InodeNumber number, CachedInode& inode, const Xattrs& xattrs) {
  DADI_CHECK(release_xattr_block(inode));
  xattr_blocks_.erase({number, 1});
  if (xattrs.empty()) {  // nearly always
    std::ranges::fill(inode.image.xattr_area(), std::byte{0});
    return {};
  }
  DADI_TRY(const EncodedXattrs encoded, encode_xattrs(xattrs, InodeImage::kSize - InodeImage::kXattrStart));
  const auto area = inode.image.xattr_area();
  std::ranges::fill(area, std::byte{0});
  std::ranges::copy(encoded.in_inode, area.begin());
  if (encoded.block) xattr_blocks_.put(number, *encoded.block);
  return {};
}

// ---- Removal -------------------------------------------------------------------------------------------------------

Result<void> LayerPlanner::remove(Directory& parent, std::string_view name) {
  knows_parent_ = false;
  Child* child = parent.find(name);
  if (child == nullptr) return Error::internal("\"{}\" is removed, but not there", name);
  DADI_CHECK(release_tree(*child));
  return parent.remove(name);
}

// Gives up an entry's inode and all that is below it. Depth is bounded by what walk() allows and by the layers below,
// whose directories were made by the same rule; a deeper one is refused.
Result<void> LayerPlanner::release_tree(Child& child) {
  if (!child.is_directory()) return unlink(child.inode);
  struct Level {
    Child* child;
    std::map<std::string, Child, std::less<>>::iterator next;
  };
  std::vector<Level> levels;
  DADI_TRY(Directory * top, visit(child));
  levels.push_back({&child, top->children().begin()});
  while (!levels.empty()) {
    DADI_CHECK(inodes_.make_room());
    Level& level = levels.back();
    if (level.next == level.child->directory->children().end()) {
      const InodeNumber number = level.child->inode;
      level.child->directory.reset();
      levels.pop_back();
      DADI_TRY(CachedInode * inode, inodes_.get(number));
      inode->image.set_links(1);
      DADI_CHECK(unlink(number));
      continue;
    }
    Child& below = (level.next++)->second;
    if (!below.is_directory()) {
      DADI_CHECK(unlink(below.inode));
      continue;
    }
    if (levels.size() > kDeepest + 1) return Error::corruption("directories nested more than {} deep", kDeepest);
    DADI_TRY(Directory * directory, visit(below));
    levels.push_back({&below, directory->children().begin()});
  }
  return {};
}

Result<void> LayerPlanner::unlink(InodeNumber number) {
  DADI_TRY(CachedInode * inode, inodes_.get(number));
  inode->dirty = true;
  inode->image.set_links(static_cast<std::uint16_t>(inode->image.links() - 1));
  if (inode->image.links() > 0) return {};
  const bool directory = inode->image.is_directory();
  const bool own = inode->own;
  DADI_CHECK(release_content(number, *inode));
  inode->image.clear();
  if (own)
    inode_numbers_.retire(number, directory);
  else
    inode_numbers_.free(number, directory);
  return {};
}

Result<void> LayerPlanner::release_blocks(const CachedInode& inode, BlockRange range) {
  DADI_CHECK(device_.drop(range));
  if (inode.own)
    blocks_.retire(range);
  else
    blocks_.free(range);
  return {};
}

Result<void> LayerPlanner::release_content(InodeNumber number, CachedInode& inode) {
  xattr_blocks_.erase({number, 1});
  DADI_CHECK(release_xattr_block(inode));
  const InodeImage& image = inode.image;
  if (const auto waiting = fragmented_.find(number); waiting != fragmented_.end()) {
    for (const FileRun& run : waiting->second.runs()) DADI_CHECK(release_blocks(inode, {run.physical, run.count}));
    fragmented_.erase(waiting);
    return {};
  }
  if (long_symlinks_.erase(number) > 0) return {};
  const bool directory_without_blocks = image.is_directory() && inode.own;  // it gets them at the end
  const bool fast_symlink = image.is_symlink() && image.size() < kFastSymlink;
  if (directory_without_blocks || fast_symlink || !(image.is_regular() || image.is_directory() || image.is_symlink()))
    return {};
  if (image.is_regular() && image.blocks() == 0) return {};
  DADI_TRY(const ExtentTree tree, read_extents(fs_, device_, image).context("inode {}", number));
  for (const FileRun& run : tree.extents.runs()) DADI_CHECK(release_blocks(inode, {run.physical, run.count}));
  for (const BlockNumber block : tree.tree) DADI_CHECK(release_blocks(inode, {block, 1}));
  return {};
}

// Gives up the block of attributes of a lower layer's inode. Other inodes may share it.
Result<void> LayerPlanner::release_xattr_block(CachedInode& inode) {
  constexpr std::size_t kReferences = 4;  // h_refcount
  const BlockNumber place = inode.image.xattr_block();
  if (place == 0) return {};
  Block block;
  DADI_CHECK(device_.read(place, block));
  const auto references = load_le<std::uint32_t>(block, kReferences);
  if (references > 1) {
    store_le(block, kReferences, references - 1);
    if (fs_.has_checksums())
      ext2fs_ext_attr_block_csum_set(fs_.get(), 0, place, reinterpret_cast<ext2_ext_attr_header*>(block.data()));
    device_.put(place, block, false);
  } else {
    if (place >= ext2fs_blocks_count(fs_->super)) return Error::corruption("an attribute block at {}", place);
    DADI_CHECK(device_.drop({place, 1}));
    blocks_.free({place, 1});
  }
  inode.image.set_xattr_block(0);
  inode.image.set_blocks(inode.image.blocks() - 1);
  inode.dirty = true;
  return {};
}

// ---- Finishing -----------------------------------------------------------------------------------------------------

Result<void> LayerPlanner::finish() {
  DADI_CHECK(write_directories());
  DADI_CHECK(write_symlinks());
  DADI_CHECK(write_fragmented());
  DADI_CHECK(write_xattr_blocks());
  blocks_.settle();
  inode_numbers_.settle();
  DADI_CHECK(inodes_.write_back());
  DADI_CHECK(fs_.flush());
  DADI_CHECK(device_.finish());
  for (const BlockRange& range : blocks_.freed(kWorthARecord)) DADI_CHECK(device_.clear(range));
  return {};
}

Result<void> LayerPlanner::write_directories() {
  std::vector<Directory*> all{root_.get()};
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (auto& [name, child] : all[i]->children())
      if (child.directory) all.push_back(child.directory.get());
  }
  std::ranges::sort(all, {}, &Directory::number);
  for (Directory* directory : all) {
    DADI_CHECK(inodes_.make_room());
    DADI_CHECK(directory->write(host_).context("directory inode {}", directory->number()));
  }
  return {};
}

Result<void> LayerPlanner::write_symlinks() {
  for (const auto& [number, target] : long_symlinks_) {
    DADI_CHECK(inodes_.make_room());
    DADI_TRY(CachedInode * inode, inodes_.get(number));
    DADI_TRY(const BlockRange place, blocks_.take(1));
    Block block{};
    std::memcpy(block.data(), target.data(), target.size());
    device_.put(place.start, block, true);
    ExtentList extents;
    extents.append(0, place);
    DADI_CHECK(write_extents(fs_, device_, blocks_, number, inode->image, extents, {}));
    inode->image.set_blocks(inode->image.blocks() + 1);
    inode->dirty = true;
  }
  return {};
}

Result<void> LayerPlanner::write_fragmented() {
  for (const auto& [number, extents] : fragmented_) {
    DADI_CHECK(inodes_.make_room());
    DADI_TRY(CachedInode * inode, inodes_.get(number));
    DADI_TRY(const std::uint64_t tree, write_extents(fs_, device_, blocks_, number, inode->image, extents, {}));
    inode->image.set_blocks(inode->image.blocks() + tree);
    inode->dirty = true;
  }
  return {};
}

Result<void> LayerPlanner::write_xattr_blocks() {
  Block block;
  for (const std::uint64_t each : xattr_blocks_.numbers()) {
    const auto number = static_cast<InodeNumber>(each);
    xattr_blocks_.get(number, block);
    xattr_blocks_.erase({number, 1});
    DADI_CHECK(inodes_.make_room());
    DADI_TRY(CachedInode * inode, inodes_.get(number));
    DADI_TRY(const BlockRange place, blocks_.take(1));
    if (fs_.has_checksums())
      ext2fs_ext_attr_block_csum_set(fs_.get(), number, place.start,
                                     reinterpret_cast<ext2_ext_attr_header*>(block.data()));
    device_.put(place.start, block, true);
    inode->image.set_xattr_block(place.start);
    inode->image.set_blocks(inode->image.blocks() + 1);
    inode->dirty = true;
  }
  return {};
}

}  // namespace dadi::fs
