// Inodes while a layer is planned: in memory while they are worked on, then in the blocks of the inode table.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <vector>

#include "libfs/layer_archive.h"
#include "libfs/writer/allocator.h"

namespace dadi::fs {

// One inode of 256 bytes as it is on disk; fields by their ext4 names. A value type.
class InodeImage {
 public:
  static constexpr std::size_t kSize = 256;
  static constexpr std::size_t kExtraSize = 32;                                // i_extra_isize of what we write
  static constexpr std::size_t kXattrStart = 128 + kExtraSize;                 // in-inode attributes, to the end
  static constexpr std::uint32_t kExtentsFlag = 0x80000, kIndexFlag = 0x1000;  // EXTENTS_FL, INDEX_FL

  std::span<std::byte> raw() { return raw_; }
  std::span<const std::byte> raw() const { return raw_; }

  std::uint16_t mode() const;
  void set_mode(std::uint16_t mode);
  bool is_directory() const;
  bool is_regular() const;
  bool is_symlink() const;
  std::uint16_t links() const;
  void set_links(std::uint16_t links);
  std::uint64_t size() const;
  void set_size(std::uint64_t size);
  std::uint32_t flags() const;
  void set_flags(std::uint32_t flags);
  std::uint64_t xattr_block() const;
  void set_xattr_block(BlockNumber block);
  std::uint64_t blocks() const;  // i_blocks, as a number of file-system blocks
  void set_blocks(std::uint64_t count);
  std::span<std::byte> block_area();  // i_block, 60 bytes
  std::span<const std::byte> block_area() const;
  std::span<std::byte> xattr_area() { return std::span(raw_).subspan(kXattrStart); }

  // The nearest time that an inode can hold: from 1901 (-2^31 seconds) to 2446 (2^34 seconds after that).
  static Timestamp nearest_time(Timestamp time);

  // For a file system that has checksums, with that seed. Not part of what the other setters change: call it last.
  void set_checksum(std::uint32_t filesystem_seed, InodeNumber number);

  // Mode, owner, all four times (the nearest) and (of devices) numbers; not links, size, blocks and extended
  // attributes.
  void set_attributes(const Attributes& attributes);
  void clear() { raw_ = {}; }

 private:
  std::array<std::byte, kSize> raw_{};
};

struct CachedInode {
  InodeImage image;
  bool dirty = false;
  bool own = false;  // allocated by this layer, and so are its blocks
};

// One thread at a time; file system and device are borrowed. A CachedInode stays where it is until
// make_room() or write_back().
class InodeTable {
 public:
  InodeTable(Ext2FileSystem& fs, LayerDevice& device) : fs_(fs), device_(device) {}

  // Errors: corruption (no such inode, or not in use).
  Result<CachedInode*> get(InodeNumber number);

  // A new, empty inode in place of whatever `number` held. `own` as above.
  CachedInode& create(InodeNumber number, bool own);

  // Writes back once many are held. Blocks that hold sixteen inodes each, and are kept compressed, take a fraction of
  // the memory.
  Result<void> make_room() { return inodes_.size() < kMostHeld ? Result<void>() : write_back(); }

  // Writes changed inodes, their checksums set, in the order of their numbers, and forgets all.
  Result<void> write_back();

 private:
  static constexpr std::size_t kMostHeld = 2048;

  struct Place {
    BlockNumber block;
    std::size_t offset;
  };
  Result<Place> place_of(InodeNumber number) const;

  Ext2FileSystem& fs_;
  LayerDevice& device_;
  CachedInode& hold(InodeNumber number);

  std::deque<CachedInode> held_;  // the first inodes_.size() are in use; the rest is memory for the next
  std::unordered_map<InodeNumber, CachedInode*> inodes_;
  std::vector<bool> own_;  // by number, of inodes that were written back; as long as it needs to be
};

// The type field of a directory entry for an inode of this mode.
std::uint8_t directory_entry_type(std::uint16_t mode);

}  // namespace dadi::fs
