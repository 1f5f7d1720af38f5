#include "libfs/writer/ext2_file_system.h"

#include <algorithm>
#include <cstring>

#include "libformat/base/bytes.h"

namespace dadi::fs {

namespace {

io_manager layer_io_manager();

// Every time stamp that the library sets by itself. Not 0, which it takes for "ask the clock".
constexpr time_t kFixedTime = 1;
constexpr unsigned kInodeRatio = 16384;  // bytes of device an inode

// ---- The library's I/O, on a LayerDevice ---------------------------------------------------------------------------

// The library opens its channel by name. The device that a name stands for is handed over here, for one call.
thread_local LayerDevice* device_being_opened = nullptr;

LayerDevice& device_of(io_channel channel) {
  return *static_cast<LayerDevice*>(channel->private_data);
}

// Calls `each(block, offset in the block, piece of the buffer)` for the blocks of a transfer in the library's units.
template <typename Byte, typename Each>
errcode_t for_blocks(io_channel channel, unsigned long long block, int count, Byte* buffer, Each each) {
  const auto unit = static_cast<std::uint64_t>(channel->block_size);
  std::uint64_t at = block * unit;
  std::uint64_t left = count < 0 ? static_cast<std::uint64_t>(-static_cast<std::int64_t>(count))  // bytes, by contract
                                 : static_cast<std::uint64_t>(count) * unit;
  while (left > 0) {
    const std::size_t skip = at % kBlockSize;
    const std::size_t length = std::min<std::uint64_t>(left, kBlockSize - skip);
    if (!each(at / kBlockSize, skip, std::span(buffer, length))) return EIO;
    buffer += length;
    at += length;
    left -= length;
  }
  return 0;
}

errcode_t open_channel(const char* name, int, io_channel* result) {
  if (device_being_opened == nullptr) return EXT2_ET_BAD_DEVICE_NAME;
  io_channel channel = nullptr;
  if (const errcode_t code = ext2fs_get_memzero(sizeof(struct_io_channel), &channel)) return code;
  if (const errcode_t code = ext2fs_get_mem(std::strlen(name) + 1, &channel->name)) {
    ext2fs_free_mem(&channel);
    return code;
  }
  std::strcpy(channel->name, name);
  channel->magic = EXT2_ET_MAGIC_IO_CHANNEL;
  channel->block_size = 1024;
  channel->refcount = 1;
  channel->private_data = device_being_opened;
  channel->manager = layer_io_manager();
  *result = channel;
  return 0;
}

errcode_t close_channel(io_channel channel) {
  if (--channel->refcount > 0) return 0;
  ext2fs_free_mem(&channel->name);
  return ext2fs_free_mem(&channel);
}

errcode_t set_block_size(io_channel channel, int size) {
  channel->block_size = size;
  return 0;
}

errcode_t read_blocks(io_channel channel, unsigned long long block, int count, void* data) {
  return for_blocks(channel, block, count, static_cast<std::byte*>(data),
                    [&](BlockNumber at, std::size_t skip, std::span<std::byte> piece) {
                      Block content;
                      if (!device_of(channel).read(at, content)) return false;
                      std::memcpy(piece.data(), content.data() + skip, piece.size());
                      return true;
                    });
}

errcode_t write_blocks(io_channel channel, unsigned long long block, int count, const void* data) {
  return for_blocks(channel, block, count, static_cast<const std::byte*>(data),
                    [&](BlockNumber at, std::size_t skip, std::span<const std::byte> piece) {
                      Block content;
                      if (piece.size() < kBlockSize && !device_of(channel).read(at, content)) return false;
                      std::memcpy(content.data() + skip, piece.data(), piece.size());
                      device_of(channel).put(at, content, false);
                      return true;
                    });
}

errcode_t read_blocks32(io_channel channel, unsigned long block, int count, void* data) {
  return read_blocks(channel, block, count, data);
}
errcode_t write_blocks32(io_channel channel, unsigned long block, int count, const void* data) {
  return write_blocks(channel, block, count, data);
}
errcode_t do_nothing(io_channel) {
  return 0;
}

io_manager layer_io_manager() {
  static struct_io_manager manager = [] {
    struct_io_manager made{};
    made.magic = EXT2_ET_MAGIC_IO_MANAGER;
    made.name = "layer";
    made.open = open_channel;
    made.close = close_channel;
    made.set_blksize = set_block_size;
    made.read_blk = read_blocks32;
    made.write_blk = write_blocks32;
    made.flush = do_nothing;
    made.read_blk64 = read_blocks;
    made.write_blk64 = write_blocks;
    return made;
  }();
  return &manager;
}

class OpeningScope {
 public:
  explicit OpeningScope(LayerDevice& device) { device_being_opened = &device; }
  ~OpeningScope() { device_being_opened = nullptr; }
  OpeningScope(const OpeningScope&) = delete;
  OpeningScope& operator=(const OpeningScope&) = delete;
};

// ---- Making a file system ------------------------------------------------------------------------------------------

Result<void> succeed(errcode_t code, const char* what) {
  if (code != 0) return ext2_error(code, what);
  return {};
}

// The library says of a read that it failed, and the device why.
Result<void> succeed_on(const LayerDevice& device, errcode_t code, const char* what) {
  if (code != 0 && !device.read_failure()) return Error(device.read_failure().error()).context("{}", what);
  return succeed(code, what);
}

ext2_super_block parameters(Bytes size) {
  ext2_super_block super{};
  super.s_rev_level = EXT2_DYNAMIC_REV;
  ext2fs_set_feature_64bit(&super);
  ext2fs_set_feature_sparse_super2(&super);  // and no backup group is named
  ext2fs_set_feature_filetype(&super);
  ext2fs_set_feature_dir_index(&super);
  ext2fs_set_feature_xattr(&super);
  ext2fs_set_feature_dir_nlink(&super);
  ext2fs_set_feature_large_file(&super);
  ext2fs_set_feature_huge_file(&super);
  ext2fs_set_feature_flex_bg(&super);
  ext2fs_set_feature_extents(&super);
  ext2fs_set_feature_extra_isize(&super);
  ext2fs_set_feature_metadata_csum(&super);
  super.s_log_block_size = super.s_log_cluster_size = 2;  // 4 KiB
  super.s_desc_size = 64;
  super.s_log_groups_per_flex = 8;
  super.s_inode_size = 256;
  super.s_checksum_type = EXT2_CRC32C_CHKSUM;
  ext2fs_blocks_count_set(&super, size.value / kBlockSize);
  super.s_inodes_count = static_cast<__u32>(std::max<std::uint64_t>(size.value / kInodeRatio, 16));
  return super;
}

void set_identity(ext2_filsys fs, const FormatOptions& options) {
  ext2_super_block& super = *fs->super;
  std::memcpy(super.s_uuid, options.uuid.data(), options.uuid.size());
  std::memcpy(super.s_hash_seed, options.hash_seed.data(), options.hash_seed.size());
  super.s_checksum_type = EXT2_CRC32C_CHKSUM;
  ext2fs_init_csum_seed(fs);
  super.s_def_hash_version = EXT2_HASH_HALF_MD4;
  // The library says what `char` is on this machine, which must not show.
  super.s_flags = (super.s_flags & ~static_cast<__u32>(EXT2_FLAGS_UNSIGNED_HASH)) | EXT2_FLAGS_SIGNED_HASH;
  super.s_max_mnt_count = static_cast<__u16>(-1);
  super.s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
  super.s_want_extra_isize = super.s_min_extra_isize = 32;
  super.s_mkfs_time = super.s_lastcheck = kFixedTime;
  super.s_kbytes_written = 0;
}

// An inode that the library made, with the times and owner of a directory that no layer has declared.
Result<void> settle_directory(ext2_filsys fs, ext2_ino_t number, std::uint16_t permissions) {
  ext2_inode_large inode{};
  auto* plain = reinterpret_cast<ext2_inode*>(&inode);
  DADI_CHECK(succeed(ext2fs_read_inode_full(fs, number, plain, sizeof inode), "read a new directory's inode"));
  inode.i_mode = static_cast<__u16>(LINUX_S_IFDIR | permissions);
  inode.i_atime = inode.i_ctime = inode.i_mtime = inode.i_crtime = 0;
  inode.i_extra_isize = 32;
  return succeed(ext2fs_write_inode_full(fs, number, plain, sizeof inode), "write a new directory's inode");
}

Result<void> fill(ext2_filsys fs) {
  DADI_CHECK(succeed(ext2fs_allocate_tables(fs), "allocate the tables"));
  for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
    // Else the kernel writes zeros over every inode table once the file system is mounted for writing.
    ext2fs_bg_flags_set(fs, group, EXT2_BG_INODE_ZEROED);
    ext2fs_group_desc_csum_set(fs, group);
  }
  DADI_CHECK(succeed(ext2fs_mkdir(fs, EXT2_ROOT_INO, EXT2_ROOT_INO, nullptr), "make the root directory"));
  DADI_CHECK(succeed(ext2fs_mkdir(fs, EXT2_ROOT_INO, 0, "lost+found"), "make lost+found"));
  ext2_ino_t lost_found = 0;
  DADI_CHECK(succeed(ext2fs_lookup(fs, EXT2_ROOT_INO, "lost+found", 10, nullptr, &lost_found), "look up lost+found"));
  DADI_CHECK(succeed(ext2fs_expand_dir(fs, lost_found), "expand lost+found"));
  ext2fs_inode_alloc_stats2(fs, EXT2_BAD_INO, +1, 0);
  for (ext2_ino_t number = 3; number < EXT2_FIRST_INODE(fs->super); ++number)
    ext2fs_inode_alloc_stats2(fs, number, +1, 0);
  DADI_CHECK(settle_directory(fs, EXT2_ROOT_INO, 0755));
  return settle_directory(fs, lost_found, 0700);
}

// The superblock's free totals, from the groups' own.
void recount(ext2_filsys fs) {
  blk64_t blocks = 0;
  __u32 inodes = 0;
  for (dgrp_t group = 0; group < fs->group_desc_count; ++group) {
    blocks += ext2fs_bg_free_blocks_count(fs, group);
    inodes += ext2fs_bg_free_inodes_count(fs, group);
  }
  ext2fs_free_blocks_count_set(fs->super, blocks * static_cast<blk64_t>(EXT2FS_CLUSTER_RATIO(fs)));
  fs->super->s_free_inodes_count = inodes;
}

}  // namespace

Error ext2_error(errcode_t code, const std::string& what) {
  static const bool registered = (initialize_ext2_error_table(), true);
  (void)registered;
  switch (code) {
    case EXT2_ET_BLOCK_ALLOC_FAIL:
    case EXT2_ET_INODE_ALLOC_FAIL:
    case EXT2_ET_TOOSMALL:
      return Error::exhausted("{}: {}", what, error_message(code));
    case EXT2_ET_UNSUPP_FEATURE:
    case EXT2_ET_RO_UNSUPP_FEATURE:
      return Error::unsupported("{}: {}", what, error_message(code));
    default:
      return Error::corruption("{}: {}", what, error_message(code));
  }
}

void Ext2FileSystem::Free::operator()(ext2_filsys fs) const {
  ext2fs_free(fs);
}

Result<Ext2FileSystem> Ext2FileSystem::format(LayerDevice& device, const FormatOptions& options) {
  if (options.size < kSmallestDevice || options.size > kLargestDevice || options.size.value % kBlockSize != 0)
    return Error::invalid_argument(
        "a virtual size of {} bytes: it must be a multiple of 4 KiB from 1 MiB to below 2 TiB", options.size.value);
  ext2_super_block super = parameters(options.size);
  ext2_filsys raw = nullptr;
  {
    const OpeningScope scope(device);
    DADI_CHECK(succeed(
        ext2fs_initialize("layer", EXT2_FLAG_64BITS | EXT2_FLAG_MASTER_SB_ONLY, &super, layer_io_manager(), &raw),
        "make a file system"));
  }
  Ext2FileSystem fs(raw);
  fs->now = kFixedTime;
  fs->umask = 077;
  set_identity(raw, options);
  DADI_CHECK(fill(raw));
  DADI_CHECK(fs.flush());
  return fs;
}

Result<Ext2FileSystem> Ext2FileSystem::open(LayerDevice& device) {
  DADI_TRY(Ext2FileSystem fs, open_any(device));
  if (fs->blocksize != kBlockSize || EXT2_INODE_SIZE(fs->super) != 256)
    return Error::unsupported(
        "a file system with blocks of {} and inodes of {} bytes; only 4096 and 256 can be changed", fs->blocksize,
        EXT2_INODE_SIZE(fs->super));
  if (ext2fs_has_feature_bigalloc(fs->super) || ext2fs_has_feature_inline_data(fs->super) ||
      ext2fs_has_feature_ea_inode(fs->super) || !ext2fs_has_feature_extents(fs->super))
    return Error::unsupported("the file system below has features that dadi does not change");
  return fs;
}

Result<Ext2FileSystem> Ext2FileSystem::open_any(LayerDevice& device) {
  ext2_filsys raw = nullptr;
  {
    const OpeningScope scope(device);
    const errcode_t code = ext2fs_open2("layer", nullptr, EXT2_FLAG_RW | EXT2_FLAG_64BITS | EXT2_FLAG_MASTER_SB_ONLY, 0,
                                        0, layer_io_manager(), &raw);
    DADI_CHECK(succeed_on(device, code, "open the file system"));
  }
  Ext2FileSystem fs(raw);
  if (ext2fs_has_feature_journal_needs_recovery(fs->super))
    return Error::unsupported("the file system below has a journal that needs recovery");
  if (ext2fs_blocks_count(fs->super) > device.blocks() * kBlockSize / fs->blocksize)
    return Error::corruption("the file system has {} blocks of {} bytes, its device {} of {}",
                             ext2fs_blocks_count(fs->super), fs->blocksize, device.blocks(), kBlockSize);
  fs->now = kFixedTime;
  fs->default_bitmap_type = EXT2FS_BMAP64_RBTREE;
  DADI_CHECK(succeed_on(device, ext2fs_read_bitmaps(raw), "read the bitmaps"));
  recount(raw);
  return fs;
}

Result<void> Ext2FileSystem::flush() {
  fs_->super->s_kbytes_written = 0;
  ext2fs_mark_super_dirty(fs_.get());
  return succeed(ext2fs_flush(fs_.get()), "write superblock, descriptors and bitmaps");
}

}  // namespace dadi::fs
