// Reading an ext4 file system on any block device, without mounting it and without trusting it.
//
//   DADI_TRY(auto volume, Volume::open(device));
//   DADI_TRY(auto inode, volume->resolve("/etc/os-release", /*follow_last=*/true));
//   std::vector<std::byte> text(inode.size.value);
//   DADI_CHECK(volume->read(inode, {0}, text));
//
// Everything is read from the device when asked for; checksums are verified wherever the file system has them. Source:
// Linux kernel, Documentation/filesystems/ext4.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/units.h"
#include "libformat/blob/block_reader.h"
#include "libfs/ext4/superblock.h"
#include "libfs/layer_archive.h"

namespace dadi::fs {

using InodeNumber = std::uint32_t;
inline constexpr InodeNumber kRootInode = 2;

// An inode, decoded. A plain value, good for as long as the volume that it came from.
struct Inode {
  InodeNumber number = 0;
  Attributes attributes;  // without xattrs: those cost reads of their own, see Volume::xattrs
  Timestamp atime;
  Timestamp ctime;
  Timestamp crtime;  // zero where inodes are too small to hold it
  Bytes size;        // of the content; of a symlink: of its target
  std::uint32_t links = 0;
  std::uint32_t flags = 0;       // inode_flag::… of layout.h
  Bytes allocated;               // as stated, of blocks: content, block maps and the xattr block
  std::uint32_t generation = 0;  // goes into checksums
  std::uint64_t xattr_block = 0;
  std::array<std::byte, 60> block_map = {};  // i_block: an extent tree's root, block numbers, or a short symlink
};

struct DirectoryEntry {
  std::string name;
  InodeNumber inode = 0;
  std::uint8_t file_type = 0;  // file_type::… of layout.h; 0 where the file system does not store it
};

// A run of a file's blocks: `count` blocks from `logical` on in the file lie from `physical` on in the file system.
struct FileExtent {
  std::uint64_t logical = 0;
  std::uint64_t physical = 0;
  std::uint64_t count = 0;
  bool unwritten = false;  // allocated, reads as zeros

  friend bool operator==(const FileExtent&, const FileExtent&) = default;
};

class Image;

// An open file system. Thread-safe: any number of threads may call at once.
//
// All methods share these errors: corruption (a structure that contradicts itself or its checksum; the message names
// it), those of the device. Memory is bounded by what a call returns, with limits of its own; so is time.
class Volume {
 public:
  // Errors: corruption (no ext4, or a superblock that cannot be), unsupported (features that change the layout in ways
  // not known here, and a journal that was not replayed).
  static Result<std::shared_ptr<const Volume>> open(std::shared_ptr<const BlockReader> device);

  explicit Volume(std::unique_ptr<const Image> image);
  ~Volume();

  const Superblock& superblock() const;

  // Errors: invalid_argument (no such number), not_found (not in use), corruption.
  Result<Inode> inode(InodeNumber number) const;

  // What a directory holds, without "." and "..", in the order of its blocks.
  // Errors: invalid_argument (not a directory), exhausted (larger than 1 GiB, more than 4 million entries).
  Result<std::vector<DirectoryEntry>> list(const Inode& directory) const;

  // The inode that `name` stands for in a directory. Reads the directory from its start. Errors: those of list.
  Result<std::optional<InodeNumber>> lookup(const Inode& directory, std::string_view name) const;

  // The inode at `path`, from the root, whether or not it begins with a slash; empty is the root. Symlinks on the way
  // are followed inside the root, 40 at most; the last one only if `follow_last`. ".." of the root is the root.
  // Errors: not_found, invalid_argument (a component is not a directory, a path over 4096 bytes, too many symlinks).
  Result<Inode> resolve(std::string_view path, bool follow_last) const;

  // The target, verbatim. Errors: invalid_argument (not a symlink).
  Result<std::string> read_link(const Inode& symlink) const;

  // Fills all of `out` from `offset` of a regular file's content, or fails as a whole. Holes and unwritten extents are
  // zeros. Errors: invalid_argument (not a regular file, or past its end).
  Result<void> read(const Inode& file, Bytes offset, std::span<std::byte> out) const;

  // The extents of a file or directory in ascending order, neighbours merged; holes are what they leave out.
  // Errors: exhausted (more than 4 million).
  Result<std::vector<FileExtent>> extents(const Inode& inode) const;

  // Errors: unsupported (a value kept in an inode of its own).
  Result<Xattrs> xattrs(const Inode& inode) const;

 private:
  std::unique_ptr<const Image> image_;
};

}  // namespace dadi::fs
