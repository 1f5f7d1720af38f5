// Injecting damage into an ext4 image in memory: any structure can be patched where it lies, and its checksum made
// right again, so that the damage itself is what a checker has to find.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "libformat/base/endian.h"
#include "libfs/ext4/image.h"
#include "libfs/ext4/volume.h"

namespace dadi::fs::test {

// One thread at a time. Numbers and places are those of the pristine image, so that damage does not hide what follows.
class Damager {
 public:
  explicit Damager(const std::vector<std::byte>& pristine);

  const Superblock& superblock() const { return volume_->superblock(); }
  const std::vector<std::byte>& bytes() const { return bytes_; }

  // Numbers of things.
  Inode inode(std::string_view path) const;
  InodeNumber number(std::string_view path) const { return inode(path).number; }
  std::uint64_t content_block(const Inode& inode, std::uint64_t logical) const;
  std::uint64_t content_block(std::string_view path, std::uint64_t logical) const;
  GroupDescriptor group(std::uint32_t number) const;
  GroupDescriptor damaged_group(std::uint32_t number);

  // Bytes of things.
  std::span<std::byte> block(std::uint64_t number);
  std::span<std::byte> raw_superblock();
  std::span<std::byte> raw_group(std::uint32_t number);
  std::span<std::byte> raw_inode(InodeNumber number);

  // Stores a field and makes the checksum of the structure right.
  template <typename T>
  void set_superblock(std::size_t field, T value) {
    store_le<T>(raw_superblock(), field, value);
    seal_superblock();
  }
  template <typename T>
  void set_group(std::uint32_t number, std::size_t field, T value) {
    store_le<T>(raw_group(number), field, value);
    seal_group(number);
  }
  template <typename T>
  void set_inode(InodeNumber number, std::size_t field, T value) {
    store_le<T>(raw_inode(number), field, value);
    seal_inode(number);
  }
  template <typename T>
  void set_inode(std::string_view path, std::size_t field, T value) {
    set_inode<T>(number(path), field, value);
  }

  // Where the entry `name` lies in its directory: the block of the file system, and the offset in it.
  struct EntryPlace {
    std::uint64_t block = 0;
    std::uint64_t logical = 0;
    std::size_t offset = 0;
  };
  EntryPlace find_entry(std::string_view directory, std::string_view name) const;
  template <typename T>
  void set_entry(std::string_view directory, std::string_view name, std::size_t field, T value) {
    const EntryPlace place = find_entry(directory, name);
    store_le<T>(block(place.block), place.offset + field, value);
    seal_directory_block(directory, place.logical);
  }

  void flip_bit(std::uint64_t block, std::uint64_t bit);

  // Make checksums right.
  void seal_superblock();
  void seal_group(std::uint32_t number);
  void seal_inode(InodeNumber number);
  void seal_block_bitmap(std::uint32_t group);
  void seal_inode_bitmap(std::uint32_t group);
  void seal_extent_block(const Inode& inode, std::uint64_t number);
  void seal_directory_block(std::string_view directory, std::uint64_t logical);
  void seal_index_block(std::string_view directory, std::uint64_t logical);
  void seal_xattr_block(std::uint64_t number);

 private:
  std::uint32_t seed_of(const Inode& inode) const;

  std::vector<std::byte> bytes_;
  std::unique_ptr<const Image> image_;
  std::shared_ptr<const Volume> volume_;
};

}  // namespace dadi::fs::test
