#include "libfs/writer/directory.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <optional>
#include <utility>

#include "libformat/base/endian.h"

namespace dadi::fs {

namespace {

// dx_root: the entries "." and ".." of 12 bytes each (the latter's record spans the block), an info of 8, then the
// entries, the first of whose hashes is a limit and a count. dx_node: an unused record of 8 bytes, then entries alike.
// Both keep 8 bytes at the end for a checksum.
constexpr std::size_t kRootEntries = 32;
constexpr std::size_t kNodeEntries = 8;
constexpr std::size_t kEntrySize = 8;
constexpr std::size_t kInfo = 24;
constexpr unsigned kMostLevels = 1;                            // below the root
constexpr std::uint32_t kMostBlocks = std::uint32_t{1} << 19;  // 2 GiB of entries: hostile beyond any real directory

std::size_t entries_limit(std::size_t start, bool checksums) {
  return (kBlockSize - start - (checksums ? kEntrySize : 0)) / kEntrySize;
}

struct IndexEntry {
  std::uint32_t hash;
  std::uint32_t logical;
};

Result<std::vector<IndexEntry>> read_entries(const Block& block, std::size_t start) {
  const std::size_t limit = load_le<std::uint16_t>(block, start);
  const std::size_t count = load_le<std::uint16_t>(block, start + 2);
  if (count == 0 || count > limit || limit > entries_limit(start, false))
    return Error::corruption("a directory index has {} entries of {}", count, limit);
  std::vector<IndexEntry> entries;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = start + i * kEntrySize;
    entries.push_back({i == 0 ? 0 : load_le<std::uint32_t>(block, at), load_le<std::uint32_t>(block, at + 4)});
  }
  return entries;
}

void store_entries(Block& block, std::size_t start, bool checksums, const std::vector<IndexEntry>& entries) {
  for (std::size_t i = 0; i < entries.size(); ++i) {
    store_le(block, start + i * kEntrySize, entries[i].hash);
    store_le(block, start + i * kEntrySize + 4, entries[i].logical);
  }
  store_le(block, start, static_cast<std::uint16_t>(entries_limit(start, checksums)));
  store_le(block, start + 2, static_cast<std::uint16_t>(entries.size()));
}

struct Hashed {
  std::uint32_t hash;
  std::uint32_t minor;
  std::pair<const std::string, Child>* entry;

  const std::string& name() const { return entry->first; }
  Child& child() const { return entry->second; }

  friend bool operator<(const Hashed& a, const Hashed& b) {
    if (a.hash != b.hash) return a.hash < b.hash;
    return a.minor != b.minor ? a.minor < b.minor : a.name() < b.name();
  }
};

// Hashes are spread evenly: the entries are, too, over as many stretches as their upper bits tell apart, each of which
// has a few to be sorted.
std::vector<Hashed> sorted_by_hash(const std::vector<Hashed>& entries) {
  const auto bits = std::clamp<std::size_t>(std::bit_width(entries.size()), 3, 18) - 2;
  const auto stretch = [&](const Hashed& entry) { return entry.hash >> (32 - bits); };
  std::vector<std::size_t> ends((std::size_t{1} << bits) + 1);
  for (const Hashed& entry : entries) ++ends[stretch(entry) + 1];
  std::partial_sum(ends.begin(), ends.end(), ends.begin());
  std::vector<Hashed> sorted(entries.size());
  for (const Hashed& entry : entries) sorted[ends[stretch(entry)]++] = entry;  // from where it begins to where it ends
  auto begin = sorted.begin();
  for (std::size_t end : ends) {
    const auto next = sorted.begin() + static_cast<std::ptrdiff_t>(end);
    if (begin < next) std::sort(begin, next);
    begin = std::max(begin, next);
  }
  return sorted;
}

}  // namespace

bool Child::is_directory() const {
  return type == EXT2_FT_DIR;
}

Child* Directory::find(std::string_view name) {
  if (children_.empty() || children_.rbegin()->first < name)
    return nullptr;  // archives are sorted, more often than not
  const auto found = children_.find(name);
  return found == children_.end() ? nullptr : &found->second;
}

Child& Directory::add(std::string_view name, InodeNumber inode, std::uint8_t type) {
  changed_ = true;
  Child& child = children_.try_emplace(children_.end(), std::string(name))->second;
  child.inode = inode;
  child.type = type;
  return child;
}

Result<void> Directory::remove(std::string_view name) {
  const auto found = children_.find(name);
  if (found == children_.end()) return Error::internal("\"{}\" is removed, but not there", name);
  if (found->second.leaf >= 0) removed_.push_back({static_cast<std::uint32_t>(found->second.leaf), found->first});
  changed_ = true;
  children_.erase(found);
  return {};
}

void Directory::retarget(std::string_view name, Child& child, InodeNumber inode, std::uint8_t type) {
  if (child.inode == inode && child.type == type) return;
  child.inode = inode;
  child.type = type;
  if (child.leaf >= 0) retargeted_.push_back({static_cast<std::uint32_t>(child.leaf), std::string(name)});
  changed_ = true;
}

// ---- Reading -------------------------------------------------------------------------------------------------------

Result<std::unique_ptr<Directory>> Directory::load(DirectoryHost& host, InodeNumber number) {
  std::unique_ptr<Directory> directory(new Directory);
  directory->number_ = number;
  DADI_TRY(CachedInode * inode, host.inodes.get(number));
  if (!inode->image.is_directory()) return Error::corruption("inode {} is no directory", number);
  const std::uint64_t count = inode->image.size() / kBlockSize;
  if (count == 0 || count > kMostBlocks) return Error::corruption("directory inode {} has {} blocks", number, count);
  DADI_TRY(directory->extents_, read_extents(host.fs, host.device, inode->image).context("directory inode {}", number));
  directory->blocks_.resize(count);
  const bool indexed = (inode->image.flags() & InodeImage::kIndexFlag) != 0;
  Block block;
  for (std::uint32_t logical = 0; logical < count; ++logical) {
    DADI_TRY(const BlockNumber place, directory->extents_.extents.find(logical).context("directory inode {}", number));
    DADI_CHECK(host.device.read(place, block));
    if (indexed && logical == 0) {
      DADI_CHECK(directory->load_index(block, host).context("directory inode {}", number));
      continue;
    }
    const bool is_node =
        std::ranges::any_of(directory->index_, [&](const IndexNode& node) { return node.logical == logical; });
    if (is_node) continue;
    DADI_CHECK(directory->load_leaf(logical, block, host.fs.has_checksums()).context("directory inode {}", number));
  }
  if (directory->parent_ == 0) return Error::corruption("directory inode {} has no \"..\"", number);
  return directory;
}

Result<void> Directory::load_index(const Block& root, DirectoryHost& host) {
  parent_ = load_le<std::uint32_t>(root, 12);
  hash_version_ = load_le<std::uint8_t>(root, kInfo + 4);
  const unsigned levels = load_le<std::uint8_t>(root, kInfo + 6);
  if (levels > kMostLevels || hash_version_ > EXT2_HASH_TEA_UNSIGNED)
    return Error::unsupported("a directory index of {} levels and hash version {}", levels + 1, hash_version_);
  DADI_TRY(const auto entries, read_entries(root, kRootEntries));
  std::vector<bool> seen(blocks_.size());
  const auto claim = [&](std::uint32_t logical) -> Result<void> {
    if (logical == 0 || logical >= blocks_.size() || seen[logical])
      return Error::corruption("a directory index refers to block {}", logical);
    seen[logical] = true;
    return {};
  };
  if (levels == 0) index_.push_back({0, 0, {}});
  for (const IndexEntry& entry : entries) {
    DADI_CHECK(claim(entry.logical));
    if (levels == 0) {
      index_[0].leaves.push_back({entry.hash, entry.logical});
      continue;
    }
    DADI_TRY(const BlockNumber place, extents_.extents.find(entry.logical));
    Block block;
    DADI_CHECK(host.device.read(place, block));
    DADI_TRY(const auto below, read_entries(block, kNodeEntries));
    IndexNode node{entry.hash, entry.logical, {}};
    for (std::size_t i = 0; i < below.size(); ++i) {
      DADI_CHECK(claim(below[i].logical));
      node.leaves.push_back({i == 0 ? entry.hash : below[i].hash, below[i].logical});
    }
    index_.push_back(std::move(node));
  }
  if (static_cast<std::size_t>(std::ranges::count(seen, true)) != blocks_.size() - 1)
    return Error::corruption("a directory index does not cover all blocks");
  return {};
}

Result<void> Directory::load_leaf(std::uint32_t logical, Block& block, bool checksums) {
  return DirectoryLeaf(block, checksums).visit([&](const LeafEntry& entry) -> Result<void> {
    if (entry.name == ".") return {};
    if (entry.name == "..") {
      parent_ = entry.inode;
      return {};
    }
    const auto [place, added] = children_.try_emplace(std::string(entry.name));
    if (!added) return Error::corruption("two entries named \"{}\"", entry.name);
    place->second.inode = entry.inode;
    place->second.type = entry.type;
    place->second.leaf = logical;
    return {};
  });
}

// ---- Changing leaves -----------------------------------------------------------------------------------------------

Result<DirectoryLeaf> Directory::leaf(DirectoryHost& host, std::uint32_t logical) {
  LeafBlock& block = blocks_[logical];
  if (!block.content) {
    DADI_TRY(const BlockNumber place, extents_.extents.find(logical));
    block.content = std::make_unique<Block>();
    DADI_CHECK(host.device.read(place, *block.content));
  }
  return DirectoryLeaf(*block.content, host.fs.has_checksums());
}

Result<void> Directory::apply_edits(DirectoryHost& host) {
  for (const Edit& edit : retargeted_) {
    const Child* child = find(edit.name);
    if (child == nullptr || child->leaf != edit.leaf) continue;  // removed since
    DADI_TRY(DirectoryLeaf leaf, this->leaf(host, edit.leaf));
    DADI_CHECK(leaf.retarget(edit.name, child->inode, child->type));
    blocks_[edit.leaf].dirty = true;
  }
  for (const Edit& edit : removed_) {
    DADI_TRY(DirectoryLeaf leaf, this->leaf(host, edit.leaf));
    DADI_CHECK(leaf.remove(edit.name));
    blocks_[edit.leaf].dirty = true;
  }
  return {};
}

// ---- Placing entries -----------------------------------------------------------------------------------------------

Result<std::uint32_t> Directory::hash_of(DirectoryHost& host, std::string_view name, std::uint32_t* minor) const {
  unsigned version = hash_version_;
  if (version <= EXT2_HASH_TEA && (host.fs->super->s_flags & EXT2_FLAGS_UNSIGNED_HASH) != 0) version += 3;
  ext2_dirhash_t hash = 0;
  ext2_dirhash_t second = 0;
  const errcode_t code = ext2fs_dirhash2(static_cast<int>(version), name.data(), static_cast<int>(name.size()), nullptr,
                                         0, host.fs->super->s_hash_seed, &hash, &second);
  if (code != 0) return ext2_error(code, "hash a name");
  if (minor != nullptr) *minor = second;
  return hash;
}

std::uint32_t Directory::new_leaf(bool checksums) {
  LeafBlock leaf{std::make_unique_for_overwrite<Block>(), true};
  DirectoryLeaf(*leaf.content, checksums).clear();
  blocks_.push_back(std::move(leaf));
  return static_cast<std::uint32_t>(blocks_.size() - 1);
}

// Puts one entry where it belongs. False: the directory must be rebuilt to hold it.
Result<bool> Directory::place(DirectoryHost& host, const std::string& name, Child& child) {
  const LeafEntry entry{name, child.inode, child.type};
  const auto try_leaf = [&](std::uint32_t logical) -> Result<bool> {
    DADI_TRY(DirectoryLeaf leaf, this->leaf(host, logical));
    if (!leaf.insert(entry)) return false;
    blocks_[logical].dirty = true;
    child.leaf = logical;
    return true;
  };
  if (index_.empty()) {
    for (std::uint32_t logical = 0; logical < blocks_.size(); ++logical) {
      DADI_TRY(const bool placed, try_leaf(logical));
      if (placed) return true;
    }
    return false;
  }
  DADI_TRY(const std::uint32_t hash, hash_of(host, name, nullptr));
  const auto below = [&](const auto& range) {
    const auto after = std::ranges::upper_bound(range, hash, {}, [](const auto& each) { return each.hash; });
    return static_cast<std::size_t>(after == range.begin() ? 0 : after - range.begin() - 1);
  };
  for (int attempt = 0; attempt < 2; ++attempt) {
    IndexNode& node = index_[below(index_)];
    const std::size_t position = below(node.leaves);
    DADI_TRY(const bool placed, try_leaf(node.leaves[position].logical));
    if (placed) return true;
    DADI_TRY(const bool done, split(host, node, position));
    if (!done) return false;
  }
  return false;
}

// Moves the upper half of a full leaf to a new one. False: the index node is full, or one hash fills the leaf.
Result<bool> Directory::split(DirectoryHost& host, IndexNode& node, std::size_t position) {
  const bool checksums = host.fs.has_checksums();
  const std::size_t start = node.logical == 0 ? kRootEntries : kNodeEntries;
  if (node.leaves.size() >= entries_limit(start, checksums)) return false;
  const std::uint32_t old = node.leaves[position].logical;
  DADI_TRY(DirectoryLeaf full, leaf(host, old));
  std::vector<Hashed> entries;
  DADI_CHECK(full.visit([&](const LeafEntry& entry) -> Result<void> {
    const auto found = children_.find(entry.name);
    if (found == children_.end()) return Error::internal("\"{}\" is in a block only", entry.name);
    Hashed hashed{0, 0, &*found};
    DADI_TRY(hashed.hash, hash_of(host, entry.name, &hashed.minor));
    entries.push_back(hashed);
    return {};
  }));
  std::ranges::sort(entries, std::less{});
  std::size_t middle = entries.size() / 2;
  while (middle < entries.size() && middle > 0 && entries[middle].hash == entries[middle - 1].hash) ++middle;
  if (middle == 0 || middle >= entries.size()) return false;
  const std::uint32_t added = new_leaf(checksums);
  full.clear();
  blocks_[old].dirty = true;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::uint32_t logical = i < middle ? old : added;
    Child& child = entries[i].child();
    child.leaf = logical;
    DirectoryLeaf(*blocks_[logical].content, checksums).insert({entries[i].name(), child.inode, child.type});
  }
  node.leaves.insert(node.leaves.begin() + static_cast<std::ptrdiff_t>(position) + 1, {entries[middle].hash, added});
  return true;
}

Result<void> Directory::rebuild(DirectoryHost& host) {
  const bool checksums = host.fs.has_checksums();
  std::size_t room = 2 * entry_room(2);  // "." and ".."
  for (const auto& [name, child] : children_) room += entry_room(name.size());
  blocks_.clear();
  index_.clear();
  if (room <= kBlockSize - (checksums ? DirectoryLeaf::kTailSize : 0)) {
    rebuild_as_block(checksums);
    return {};
  }
  return rebuild_as_tree(host);
}

void Directory::rebuild_as_block(bool checksums) {
  new_leaf(checksums);
  DirectoryLeaf leaf(*blocks_[0].content, checksums);
  leaf.append({".", number_, EXT2_FT_DIR});
  leaf.append({"..", parent_, EXT2_FT_DIR});
  for (auto& [name, child] : children_) {
    leaf.append({name, child.inode, child.type});
    child.leaf = 0;
  }
}

Result<void> Directory::rebuild_as_tree(DirectoryHost& host) {
  const bool checksums = host.fs.has_checksums();
  hash_version_ = host.fs->super->s_def_hash_version;
  std::vector<Hashed> entries;
  entries.reserve(children_.size());
  for (auto& entry : children_) {
    Hashed hashed{0, 0, &entry};
    DADI_TRY(hashed.hash, hash_of(host, entry.first, &hashed.minor));
    entries.push_back(hashed);
  }
  entries = sorted_by_hash(entries);

  blocks_.emplace_back();  // the root
  std::vector<Leaf> leaves;
  std::optional<DirectoryLeaf> leaf;  // the last of them
  const std::size_t capacity = kBlockSize - (checksums ? DirectoryLeaf::kTailSize : 0);
  const std::size_t comfortable = capacity * 3 / 4;  // room for additions by later layers
  std::size_t used = capacity;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::size_t room = entry_room(entries[i].name().size());
    const bool same_hash = i > 0 && entries[i].hash == entries[i - 1].hash;
    if (used + room > (same_hash ? capacity : comfortable)) {
      leaves.push_back({leaves.empty() ? 0 : entries[i].hash | (same_hash ? 1 : 0), new_leaf(checksums)});
      leaf.emplace(*blocks_.back().content, checksums);
      used = 0;
    }
    Child& child = entries[i].child();
    leaf->append({entries[i].name(), child.inode, child.type});
    child.leaf = leaves.back().logical;
    used += room;
  }

  const std::size_t in_root = entries_limit(kRootEntries, checksums);
  if (leaves.size() <= in_root) {
    index_.push_back({0, 0, std::move(leaves)});
    return {};
  }
  const std::size_t in_node = entries_limit(kNodeEntries, checksums) * 3 / 4;
  for (std::size_t i = 0; i < leaves.size(); i += in_node) {
    const auto first = leaves.begin() + static_cast<std::ptrdiff_t>(i);
    const auto last = leaves.begin() + static_cast<std::ptrdiff_t>(std::min(i + in_node, leaves.size()));
    blocks_.emplace_back();
    index_.push_back({first->hash, static_cast<std::uint32_t>(blocks_.size() - 1), {first, last}});
  }
  if (index_.size() > in_root) return Error::exhausted("a directory of {} entries is too large", children_.size());
  return {};
}

// ---- Writing -------------------------------------------------------------------------------------------------------

Result<void> Directory::write(DirectoryHost& host) {
  if (!changed_ && !created_) return {};
  bool fits = !created_;
  if (fits) {
    DADI_CHECK(apply_edits(host));
    for (auto& [name, child] : children_) {
      if (child.leaf >= 0) continue;
      DADI_TRY(fits, place(host, name, child));
      if (!fits) break;
    }
  }
  if (!fits) DADI_CHECK(rebuild(host));
  DADI_CHECK(resize(host));
  DADI_CHECK(count_links(host));
  DADI_CHECK(put_leaves(host));
  if (!index_.empty()) DADI_CHECK(put_index(host));
  blocks_ = std::vector<LeafBlock>();  // a layer may write very many directories
  return {};
}

// Gives the file as many blocks as there are now.
Result<void> Directory::resize(DirectoryHost& host) {
  DADI_TRY(CachedInode * inode, host.inodes.get(number_));
  InodeImage& image = inode->image;
  const std::uint64_t before = created_ ? 0 : image.size() / kBlockSize;
  const std::uint32_t flags =
      index_.empty() ? image.flags() & ~InodeImage::kIndexFlag : image.flags() | InodeImage::kIndexFlag;
  inode->dirty |= flags != image.flags();
  image.set_flags(flags);
  first_fresh_ = before;
  if (before == blocks_.size()) return {};
  extents_.extents.truncate(blocks_.size(), [&](BlockRange range) { host.allocator.free(range); });
  for (std::uint64_t have = before; have < blocks_.size();) {
    DADI_TRY(const BlockRange taken, host.allocator.take(blocks_.size() - have));
    extents_.extents.append(have, taken);
    have += taken.count;
  }
  DADI_TRY(const std::uint64_t tree,
           write_extents(host.fs, host.device, host.allocator, number_, image, extents_.extents, extents_.tree));
  image.set_size(blocks_.size() * kBlockSize);
  image.set_blocks(extents_.extents.blocks() + tree + (image.xattr_block() != 0 ? 1 : 0));
  inode->dirty = true;
  return {};
}

// Its own two links and one from each directory in it; 1 stands for more than can be counted (dir_nlink).
Result<void> Directory::count_links(DirectoryHost& host) {
  constexpr std::ptrdiff_t kMost = 65000;
  const auto links = 2 + std::ranges::count_if(children_, [](const auto& each) { return each.second.is_directory(); });
  DADI_TRY(CachedInode * inode, host.inodes.get(number_));
  inode->image.set_links(static_cast<std::uint16_t>(links > kMost ? 1 : links));
  inode->dirty = true;
  return {};
}

Result<void> Directory::put_leaves(DirectoryHost& host) {
  for (std::uint32_t logical = 0; logical < blocks_.size(); ++logical) {
    LeafBlock& block = blocks_[logical];
    if (block.content == nullptr || !block.dirty) continue;
    DADI_TRY(const BlockNumber place, extents_.extents.find(logical));
    if (host.fs.has_checksums())
      ext2fs_dir_block_csum_set(host.fs.get(), number_, reinterpret_cast<ext2_dir_entry*>(block.content->data()));
    host.device.put(place, *block.content, logical >= first_fresh_);
    block.dirty = false;
  }
  return {};
}

Result<void> Directory::put_index(DirectoryHost& host) {
  const bool checksums = host.fs.has_checksums();
  const auto put = [&](std::uint32_t logical, Block& block) -> Result<void> {
    DADI_TRY(const BlockNumber place, extents_.extents.find(logical));
    if (checksums) ext2fs_dir_block_csum_set(host.fs.get(), number_, reinterpret_cast<ext2_dir_entry*>(block.data()));
    host.device.put(place, block, logical >= first_fresh_);
    return {};
  };
  const auto record = [](Block& block, std::size_t at, InodeNumber inode, std::size_t length, std::string_view name) {
    store_le(block, at, inode);
    store_le(block, at + 4, static_cast<std::uint16_t>(length));
    store_le(block, at + 6, static_cast<std::uint8_t>(name.size()));
    store_le(block, at + 7, static_cast<std::uint8_t>(name.empty() ? 0 : EXT2_FT_DIR));
    for (std::size_t i = 0; i < name.size(); ++i) block[at + 8 + i] = static_cast<std::byte>(name[i]);
  };
  const bool two_levels = index_.size() > 1 || index_[0].logical != 0;
  std::vector<IndexEntry> top;
  for (const IndexNode& node : index_) {
    std::vector<IndexEntry> entries;
    for (const Leaf& leaf : node.leaves) entries.push_back({leaf.hash, leaf.logical});
    if (!two_levels) {
      top = std::move(entries);
      break;
    }
    top.push_back({node.hash, node.logical});
    Block block{};
    record(block, 0, 0, kBlockSize, {});
    store_entries(block, kNodeEntries, checksums, entries);
    DADI_CHECK(put(node.logical, block));
  }
  Block root{};
  record(root, 0, number_, 12, ".");
  record(root, 12, parent_, kBlockSize - 12, "..");
  store_le(root, kInfo + 4, static_cast<std::uint8_t>(hash_version_));
  store_le(root, kInfo + 5, std::uint8_t{8});  // the info's length
  store_le(root, kInfo + 6, static_cast<std::uint8_t>(two_levels ? 1 : 0));
  store_entries(root, kRootEntries, checksums, top);
  return put(0, root);
}

}  // namespace dadi::fs
