#include "libfs/writer/inode_table.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "libformat/base/endian.h"
#include "libfs/ext4/checksum.h"

namespace dadi::fs {

namespace {

// Offsets in an inode (struct ext4_inode of the kernel's documentation).
enum Offset : std::size_t {
  kMode = 0x0,
  kUidLow = 0x2,
  kSizeLow = 0x4,
  kAtime = 0x8,
  kCtime = 0xC,
  kMtime = 0x10,
  kGidLow = 0x18,
  kLinks = 0x1A,
  kBlocksLow = 0x1C,
  kFlags = 0x20,
  kBlockArea = 0x28,
  kXattrBlockLow = 0x68,
  kSizeHigh = 0x6C,
  kBlocksHigh = 0x74,
  kXattrBlockHigh = 0x76,
  kUidHigh = 0x78,
  kGidHigh = 0x7A,
  kChecksumLow = 0x7C,
  kExtraIsize = 0x80,
  kChecksumHigh = 0x82,
  kCtimeExtra = 0x84,
  kMtimeExtra = 0x88,
  kAtimeExtra = 0x8C,
  kCrtime = 0x90,
  kCrtimeExtra = 0x94,
};
constexpr std::size_t kBlockAreaSize = 60;

std::uint16_t type_bits(FileType type) {
  switch (type) {
    case FileType::kRegular:
      return S_IFREG;
    case FileType::kDirectory:
      return S_IFDIR;
    case FileType::kSymlink:
      return S_IFLNK;
    case FileType::kCharacterDevice:
      return S_IFCHR;
    case FileType::kBlockDevice:
      return S_IFBLK;
    case FileType::kFifo:
      return S_IFIFO;
    case FileType::kSocket:
      return S_IFSOCK;
  }
  return S_IFREG;
}

// A device number as the kernel keeps it: the old 16-bit form where it suffices, else the new one in the second word.
void set_device(std::span<std::byte> area, std::uint32_t major, std::uint32_t minor) {
  if (major < 256 && minor < 256)
    store_le<std::uint32_t>(area, 0, major << 8 | minor);
  else
    store_le<std::uint32_t>(area, 4, (minor & 0xFF) | major << 8 | (minor & ~0xFFu) << 12);
}

}  // namespace

std::uint16_t InodeImage::mode() const {
  return load_le<std::uint16_t>(raw_, kMode);
}
void InodeImage::set_mode(std::uint16_t mode) {
  store_le(raw_, kMode, mode);
}
bool InodeImage::is_directory() const {
  return S_ISDIR(mode());
}
bool InodeImage::is_regular() const {
  return S_ISREG(mode());
}
bool InodeImage::is_symlink() const {
  return S_ISLNK(mode());
}
std::uint16_t InodeImage::links() const {
  return load_le<std::uint16_t>(raw_, kLinks);
}
void InodeImage::set_links(std::uint16_t links) {
  store_le(raw_, kLinks, links);
}
std::uint64_t InodeImage::size() const {
  return load_le<std::uint32_t>(raw_, kSizeLow) | std::uint64_t{load_le<std::uint32_t>(raw_, kSizeHigh)} << 32;
}
void InodeImage::set_size(std::uint64_t size) {
  store_le(raw_, kSizeLow, static_cast<std::uint32_t>(size));
  store_le(raw_, kSizeHigh, static_cast<std::uint32_t>(size >> 32));
}
std::uint32_t InodeImage::flags() const {
  return load_le<std::uint32_t>(raw_, kFlags);
}
void InodeImage::set_flags(std::uint32_t flags) {
  store_le(raw_, kFlags, flags);
}
std::uint64_t InodeImage::xattr_block() const {
  return load_le<std::uint32_t>(raw_, kXattrBlockLow) | std::uint64_t{load_le<std::uint16_t>(raw_, kXattrBlockHigh)}
                                                            << 32;
}
void InodeImage::set_xattr_block(BlockNumber block) {
  store_le(raw_, kXattrBlockLow, static_cast<std::uint32_t>(block));
  store_le(raw_, kXattrBlockHigh, static_cast<std::uint16_t>(block >> 32));
}
std::uint64_t InodeImage::blocks() const {
  return (load_le<std::uint32_t>(raw_, kBlocksLow) | std::uint64_t{load_le<std::uint16_t>(raw_, kBlocksHigh)} << 32) /
         kSectorsPerBlock;
}
void InodeImage::set_blocks(std::uint64_t count) {
  const std::uint64_t sectors = count * kSectorsPerBlock;
  store_le(raw_, kBlocksLow, static_cast<std::uint32_t>(sectors));
  store_le(raw_, kBlocksHigh, static_cast<std::uint16_t>(sectors >> 32));
}
std::span<std::byte> InodeImage::block_area() {
  return std::span(raw_).subspan(kBlockArea, kBlockAreaSize);
}
std::span<const std::byte> InodeImage::block_area() const {
  return std::span(raw_).subspan(kBlockArea, kBlockAreaSize);
}

Timestamp InodeImage::nearest_time(Timestamp time) {
  constexpr std::int64_t kFirst = std::numeric_limits<std::int32_t>::min();
  constexpr std::int64_t kLast = kFirst + (std::int64_t{1} << 34) - 1;
  const std::int64_t seconds = std::clamp(time.seconds, kFirst, kLast);
  return seconds == time.seconds ? time : Timestamp{seconds, 0};
}

void InodeImage::set_attributes(const Attributes& attributes) {
  set_mode(static_cast<std::uint16_t>(type_bits(attributes.type) | attributes.permissions));
  store_le(raw_, kUidLow, static_cast<std::uint16_t>(attributes.uid));
  store_le(raw_, kUidHigh, static_cast<std::uint16_t>(attributes.uid >> 16));
  store_le(raw_, kGidLow, static_cast<std::uint16_t>(attributes.gid));
  store_le(raw_, kGidHigh, static_cast<std::uint16_t>(attributes.gid >> 16));
  store_le(raw_, kExtraIsize, static_cast<std::uint16_t>(kExtraSize));
  // The low 32 bits of the seconds are signed, two more count periods of 2^32 seconds after that.
  const Timestamp mtime = nearest_time(attributes.mtime);
  const auto low = static_cast<std::int32_t>(static_cast<std::uint32_t>(mtime.seconds));
  const auto epoch = static_cast<std::uint32_t>((mtime.seconds - low) >> 32);
  for (const auto& [time, extra] :
       {std::pair{kAtime, kAtimeExtra}, {kCtime, kCtimeExtra}, {kMtime, kMtimeExtra}, {kCrtime, kCrtimeExtra}}) {
    store_le(raw_, time, static_cast<std::uint32_t>(low));
    store_le(raw_, extra, mtime.nanoseconds << 2 | epoch);
  }
  if (attributes.type == FileType::kCharacterDevice || attributes.type == FileType::kBlockDevice)
    set_device(block_area(), attributes.device_major, attributes.device_minor);
}

void InodeImage::set_checksum(std::uint32_t filesystem_seed, InodeNumber number) {
  const std::uint32_t sum = checksum::inode(filesystem_seed, number, raw_);
  store_le(raw_, kChecksumLow, static_cast<std::uint16_t>(sum));
  if (checksum::inode_checksum_is_wide(raw_)) store_le(raw_, kChecksumHigh, static_cast<std::uint16_t>(sum >> 16));
}

Result<InodeTable::Place> InodeTable::place_of(InodeNumber number) const {
  if (number == 0 || number > fs_->super->s_inodes_count)
    return Error::corruption("inode {} does not exist in the file system below", number);
  const std::uint32_t per_group = fs_->super->s_inodes_per_group;
  const std::uint64_t offset = std::uint64_t{(number - 1) % per_group} * InodeImage::kSize;
  return Place{ext2fs_inode_table_loc(fs_.get(), (number - 1) / per_group) + offset / kBlockSize, offset % kBlockSize};
}

// Room for an inode that is not held yet.
CachedInode& InodeTable::hold(InodeNumber number) {
  if (held_.size() == inodes_.size()) held_.emplace_back();
  CachedInode& inode = held_[inodes_.size()];
  inodes_.emplace(number, &inode);
  return inode;
}

Result<CachedInode*> InodeTable::get(InodeNumber number) {
  if (const auto found = inodes_.find(number); found != inodes_.end()) return found->second;
  DADI_TRY(const Place place, place_of(number));
  Block block;
  DADI_CHECK(device_.read(place.block, block));
  CachedInode inode;
  std::memcpy(inode.image.raw().data(), block.data() + place.offset, InodeImage::kSize);
  if (inode.image.links() == 0)
    return Error::corruption("inode {} of the file system below is referred to, but not in use", number);
  inode.own = number < own_.size() && own_[number];
  return &(hold(number) = inode);
}

CachedInode& InodeTable::create(InodeNumber number, bool own) {
  const auto found = inodes_.find(number);
  CachedInode& inode = found != inodes_.end() ? *found->second : hold(number);
  inode = {.image = {}, .dirty = true, .own = own};
  return inode;
}

Result<void> InodeTable::write_back() {
  std::vector<std::pair<InodeNumber, CachedInode*>> dirty;
  dirty.reserve(inodes_.size());
  for (const auto& [number, inode] : inodes_)
    if (inode->dirty) dirty.emplace_back(number, inode);
  std::ranges::sort(dirty);
  Block block;
  BlockNumber loaded = 0;  // the superblock's: never an inode table
  for (const auto& [number, inode] : dirty) {
    InodeImage& image = inode->image;
    DADI_TRY(const Place place, place_of(number));
    if (place.block != loaded) {
      if (loaded != 0) device_.put(loaded, block, false);
      DADI_CHECK(device_.read(place.block, block));
      loaded = place.block;
    }
    if (image.mode() != 0 && fs_.has_checksums()) image.set_checksum(fs_->csum_seed, number);
    std::memcpy(block.data() + place.offset, image.raw().data(), InodeImage::kSize);
    if (!inode->own) continue;
    if (own_.size() <= number) own_.resize(std::size_t{number} + 1);
    own_[number] = true;
  }
  if (loaded != 0) device_.put(loaded, block, false);
  inodes_.clear();
  return {};
}

std::uint8_t directory_entry_type(std::uint16_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return EXT2_FT_REG_FILE;
    case S_IFDIR:
      return EXT2_FT_DIR;
    case S_IFCHR:
      return EXT2_FT_CHRDEV;
    case S_IFBLK:
      return EXT2_FT_BLKDEV;
    case S_IFIFO:
      return EXT2_FT_FIFO;
    case S_IFSOCK:
      return EXT2_FT_SOCK;
    case S_IFLNK:
      return EXT2_FT_SYMLINK;
    default:
      return EXT2_FT_UNKNOWN;
  }
}

}  // namespace dadi::fs
