#include "tests/fuzz/ext4_draft.h"

#include <ext2fs/ext2fs.h>
#include <sys/mman.h>
#include <unistd.h>

#include "libformat/base/endian.h"
#include "libformat/base/unique_fd.h"
#include "libfs/ext4/layout.h"
#include "libfs/ext4/volume.h"
#include "tests/fs/tar_builder.h"
#include "tests/fuzz/planned_layers.h"

namespace dadi::fuzz {
namespace {

constexpr Bytes kPlannedSize{2 << 20};

// Two layers, since only a second one leaves files in many pieces.
std::vector<std::byte> planned() {
  fs::TarBuilder first;
  first.file("f", std::string(9000, 'f')).directory("d").hardlink("d/h", "f").symlink("s", "d/h");
  first.symlink("long", std::string(100, 'l')).device("b", 'b', 8, 1).fifo("p").symlink("loop", "loop");
  first.pax({{"SCHILY.xattr.user.x", "v"}, {"SCHILY.xattr.user.large", std::string(900, 'v')}}).file("x", "x");
  first.pax({{"SCHILY.acl.default", "user::rwx,user:7:r-x,group::r-x,mask::rwx,other::r-x"}}).directory("d/e");
  for (int i = 0; i < 50; ++i) first.file("d/" + std::to_string(i) + std::string(220, 'n'));
  for (int i = 0; i < 20; ++i) first.file("e/" + std::to_string(i), std::string(4096, 'e'));
  // A file of islands: too many for an inode.
  std::string islands;
  for (int i = 0; i < 8; ++i) islands += std::to_string(i * 12288) + ",4096" + (i < 7 ? "," : "");
  first.pax(
      {{"GNU.sparse.size", std::to_string(8 * 12288)}, {"GNU.sparse.numblocks", "8"}, {"GNU.sparse.map", islands}});
  first.file("islands", std::string(std::size_t{8} * 4096, 'i'));
  fs::TarBuilder second;
  for (int i = 0; i < 20; i += 2) second.whiteout("e/" + std::to_string(i));
  second.file("pieces", std::string(50000, 'p')).mtime(-5).symlink("d/old", "..");

  PlannedLayers layers(kPlannedSize, false);
  must(layers.add(first.finish()), "a layer is planned");
  must(layers.add(second.finish()), "a layer is planned");
  const auto device = layers.device();
  std::vector<std::byte> bytes(to_bytes(device->size()).value);
  must(device->read_at({}, bytes), "a device is read");
  return bytes;
}

// An index without checksums has room for one record more.
void widen_index(std::vector<std::byte>& bytes) {
  const auto device = std::make_shared<MemoryDevice>(bytes);
  const auto volume = must(fs::Volume::open(device), "a file system of ours opens");
  const auto directory = must(volume->resolve("/d", true), "there is a large directory");
  require((directory.flags & EXT2_INDEX_FL) != 0, "a large directory has an index");
  const auto extents = must(volume->extents(directory), "a directory has extents");
  const std::size_t limit = extents.front().physical * volume->superblock().block_size + 32;
  store_le(std::span(bytes), limit, static_cast<std::uint16_t>(load_le<std::uint16_t>(bytes, limit) + 1));
}

std::vector<std::byte> unchecked() {
  constexpr std::size_t kReadOnlyFeatures = 1024 + 100;
  std::vector<std::byte> bytes = planned();
  widen_index(bytes);
  // The one group's descriptor, which must not call parts of it unused.
  const auto descriptor = std::span(bytes).subspan(fs::kBlockSize, 64);
  store_le(descriptor, fs::layout::group::kFlags, std::uint16_t{0});
  store_le(descriptor, fs::layout::group::kUnusedInodesLow, std::uint16_t{0});
  const auto features = load_le<std::uint32_t>(bytes, kReadOnlyFeatures);
  store_le(std::span(bytes), kReadOnlyFeatures, features & ~std::uint32_t{EXT4_FEATURE_RO_COMPAT_METADATA_CSUM});
  return bytes;
}

void check(errcode_t code, const char* what) {
  if (code != 0) fail(std::string(what) + ": " + error_message(code));
}

// The older kinds, by libext2fs on a file in memory.
class OlderFileSystem {
 public:
  explicit OlderFileSystem(bool extents) : extents_(extents), fd_(::memfd_create("ext4", 0)) {
    const std::string path = "/proc/self/fd/" + std::to_string(fd_.get());
    require(::ftruncate(fd_.get(), 1 << 20) == 0, "a file gets its size");
    ext2_super_block parameters{};
    ext2fs_blocks_count_set(&parameters, 1024);
    parameters.s_inodes_count = 64;
    parameters.s_blocks_per_group = 512;  // two groups
    parameters.s_rev_level = EXT2_DYNAMIC_REV;
    parameters.s_inode_size = extents ? 256 : 128;
    parameters.s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE;
    parameters.s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER;
    parameters.s_feature_compat = EXT2_FEATURE_COMPAT_EXT_ATTR;
    if (extents) {
      parameters.s_feature_incompat |= EXT3_FEATURE_INCOMPAT_EXTENTS;
      parameters.s_feature_ro_compat |= EXT4_FEATURE_RO_COMPAT_GDT_CSUM | EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE;
    }
    check(ext2fs_initialize(path.c_str(), EXT2_FLAG_RW, &parameters, unix_io_manager, &fs_), "initialize");
    check(ext2fs_allocate_tables(fs_), "allocate tables");
    write_tables();
    check(ext2fs_mkdir(fs_, EXT2_ROOT_INO, EXT2_ROOT_INO, nullptr), "make the root");
    for (ext2_ino_t number = 1; number < EXT2_FIRST_INO(fs_->super); ++number) {
      if (number != EXT2_ROOT_INO) ext2fs_inode_alloc_stats2(fs_, number, 1, 0);
    }
    check(ext2fs_mkdir(fs_, EXT2_ROOT_INO, 0, "lost+found"), "make lost+found");
  }

  void fill() {
    add_file("f", 0, 3000);
    add_file("long", 0, 300 << 10);  // double indirect blocks, where there are any
    for (int i = 0; i < 6; ++i) add_file("islands", static_cast<std::uint64_t>(i) * 4096 + 512, 700);
    check(ext2fs_symlink(fs_, EXT2_ROOT_INO, 0, "s", "f"), "make a symlink");
    check(ext2fs_symlink(fs_, EXT2_ROOT_INO, 0, "l", std::string(100, 'l').c_str()), "make a symlink");
    check(ext2fs_mkdir(fs_, EXT2_ROOT_INO, 0, "d"), "make a directory");
    add_attributes();
  }

  std::vector<std::byte> close() {
    check(ext2fs_close(fs_), "close");
    std::vector<std::byte> bytes(1 << 20);
    require(::pread(fd_.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()), "a file is read");
    return bytes;
  }

 private:
  void write_tables() {
    for (dgrp_t group = 0; group < fs_->group_desc_count; ++group) {
      check(ext2fs_zero_blocks2(fs_, ext2fs_inode_table_loc(fs_, group), static_cast<int>(fs_->inode_blocks_per_group),
                                nullptr, nullptr),
            "write an inode table");
      if (extents_) ext2fs_bg_flags_set(fs_, group, EXT2_BG_INODE_ZEROED);
    }
  }

  // Writes `size` bytes at `offset` of a file, which is made if it is not there.
  void add_file(const char* name, std::uint64_t offset, std::size_t size) {
    ext2_ino_t number = 0;
    if (ext2fs_lookup(fs_, EXT2_ROOT_INO, name, static_cast<int>(std::strlen(name)), nullptr, &number) != 0) {
      check(ext2fs_new_inode(fs_, EXT2_ROOT_INO, LINUX_S_IFREG, nullptr, &number), "take an inode");
      check(ext2fs_link(fs_, EXT2_ROOT_INO, name, number, EXT2_FT_REG_FILE), "link a file");
      ext2fs_inode_alloc_stats2(fs_, number, 1, 0);
      ext2_inode_large inode{};
      inode.i_mode = LINUX_S_IFREG | 0644;
      inode.i_links_count = 1;
      inode.i_extra_isize = extents_ ? 32 : 0;
      auto* small = reinterpret_cast<ext2_inode*>(&inode);
      if (extents_) {
        inode.i_flags = EXT4_EXTENTS_FL;
        ext2_extent_handle_t handle = nullptr;
        check(ext2fs_extent_open2(fs_, number, small, &handle), "make an extent tree");
        ext2fs_extent_free(handle);
      }
      check(ext2fs_write_inode_full(fs_, number, small, extents_ ? sizeof inode : sizeof(ext2_inode)),
            "write an inode");
    }
    ext2_file_t file = nullptr;
    check(ext2fs_file_open(fs_, number, EXT2_FILE_WRITE, &file), "open a file");
    check(ext2fs_file_llseek(file, offset, EXT2_SEEK_SET, nullptr), "seek");
    const std::string content(size, 'c');
    unsigned written = 0;
    check(ext2fs_file_write(file, content.data(), static_cast<unsigned>(size), &written), "write a file");
    check(ext2fs_file_close(file), "close a file");
  }

  void add_attributes() {
    ext2_ino_t number = 0;
    check(ext2fs_lookup(fs_, EXT2_ROOT_INO, "f", 1, nullptr, &number), "find a file");
    ext2_xattr_handle* handle = nullptr;
    check(ext2fs_xattrs_open(fs_, number, &handle), "open attributes");
    check(ext2fs_xattrs_read(handle), "read attributes");
    check(ext2fs_xattr_set(handle, "user.small", "v", 1), "set an attribute");
    const std::string large(500, 'v');
    check(ext2fs_xattr_set(handle, "user.large", large.data(), large.size()), "set an attribute");
    check(ext2fs_xattrs_close(&handle), "close attributes");
  }

  bool extents_;
  UniqueFd fd_;
  ext2_filsys fs_ = nullptr;
};

}  // namespace

std::vector<std::byte> draft_ext4(Ext4Kind kind) {
  if (kind == Ext4Kind::kPlanned) return planned();
  if (kind == Ext4Kind::kUnchecked) return unchecked();
  OlderFileSystem older(kind == Ext4Kind::kExtents);
  older.fill();
  return older.close();
}

}  // namespace dadi::fuzz
