#include "libfs/ext4/volume.h"

#include <algorithm>

#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"
#include "libfs/ext4/block_map.h"
#include "libfs/ext4/checksum.h"
#include "libfs/ext4/directory.h"
#include "libfs/ext4/image.h"
#include "libfs/ext4/inode.h"
#include "libfs/ext4/layout.h"
#include "libfs/ext4/xattr.h"

namespace dadi::fs {
namespace {

constexpr Bytes kLargestDirectory = {std::uint64_t{1} << 30};
constexpr std::size_t kMostExtents = std::size_t{4} << 20;
constexpr std::size_t kMostEntries = std::size_t{4} << 20;

// Makes every fault of a block map the end of reading it.
Result<void> refuse(Error error) {
  return error;
}

Result<void> refuse_inline_data(const Inode& inode) {
  if ((inode.flags & layout::inode_flag::kInlineData) == 0) return {};
  return Error::unsupported("inode {} keeps its content inline", inode.number);
}

// Visits the used entries of a directory, "." and ".." left out.
Result<void> walk_directory(const Image& image, const Inode& directory,
                            const std::function<Result<void>(const RawEntry&)>& visit) {
  if (directory.attributes.type != FileType::kDirectory)
    return Error::invalid_argument("inode {} is not a directory", directory.number);
  if (directory.size > kLargestDirectory)
    return Error::exhausted("inode {}: a directory of {} bytes", directory.number, directory.size.value);
  DADI_CHECK(refuse_inline_data(directory));

  const auto visit_block = [&](std::uint64_t logical, std::uint64_t, std::span<const std::byte> block) -> Result<void> {
    const auto visit_entry = [&](const RawEntry& entry) -> Result<void> {
      if (entry.inode == 0 || (logical == 0 && (entry.name == "." || entry.name == ".."))) return {};
      if (const auto problem = name_problem(entry.name))
        return Error::corruption("offset {}: the name {}", entry.offset, *problem);
      return visit(entry);
    };
    DADI_CHECK(check_directory_checksum(image.superblock(), directory, logical, block).context("block {}", logical));
    return walk_entries(block, visit_entry).context("block {}", logical);
  };
  return walk_directory_blocks(image, directory, {}, visit_block, refuse)
      .context("directory inode {}", directory.number);
}

// The part of `out`, the bytes from `offset` of a file on, that a run of blocks holds.
Result<void> read_run(const Image& image, const FileExtent& run, std::uint64_t offset, std::span<std::byte> out) {
  const std::uint64_t block_size = image.block_size();
  const std::uint64_t begin = std::max(offset, run.logical * block_size);
  const std::uint64_t end = std::min(offset + out.size(), (run.logical + run.count) * block_size);
  std::vector<std::byte> bounce;
  for (std::uint64_t at = begin; at < end;) {
    const std::uint64_t block = run.physical + (at / block_size - run.logical);
    const std::uint64_t within = at % block_size;
    auto target = out.subspan(at - offset, end - at);
    if (within == 0 && target.size() >= block_size) {
      target = target.first(target.size() / block_size * block_size);
      DADI_CHECK(image.read(block, target));
    } else {
      bounce.resize(block_size);
      target = target.first(std::min<std::uint64_t>(target.size(), block_size - within));
      DADI_CHECK(image.read(block, bounce));
      std::ranges::copy(std::span(bounce).subspan(within, target.size()), target.begin());
    }
    at += target.size();
  }
  return {};
}

// Fills `out` with a file's bytes from `offset` on, whatever its kind and size.
Result<void> read_content(const Image& image, const Inode& inode, std::uint64_t offset, std::span<std::byte> out) {
  std::ranges::fill(out, std::byte{0});
  if (out.empty()) return {};
  const std::uint64_t first = offset / image.block_size();
  const std::uint64_t last = (offset + out.size() - 1) / image.block_size();
  BlockMapEvents events;
  events.fault = refuse;
  events.data = [&](const FileExtent& run) {
    return run.unwritten ? Result<void>() : read_run(image, run, offset, out);
  };
  return walk_block_map(image, inode, {.first = first, .count = last - first + 1}, events)
      .context("inode {}", inode.number);
}

}  // namespace

Result<std::shared_ptr<const Volume>> Volume::open(std::shared_ptr<const BlockReader> device) {
  DADI_TRY(auto image, Image::open(std::move(device)));
  if (image->superblock().has_incompatible(layout::incompatible::kNeedsRecovery))
    return Error::unsupported("the file system's journal was not replayed")
        .with_hint("mount it read-write once, or run e2fsck on it");
  return std::make_shared<const Volume>(std::move(image));
}

Volume::Volume(std::unique_ptr<const Image> image) : image_(std::move(image)) {}
Volume::~Volume() = default;

const Superblock& Volume::superblock() const {
  return image_->superblock();
}

Result<Inode> Volume::inode(InodeNumber number) const {
  if (number == 0 || number > superblock().inode_count)
    return Error::invalid_argument("inode {} of {}", number, superblock().inode_count);
  DADI_TRY(const auto raw, image_->raw_inode(number));
  if (!inode_checksum_holds(superblock(), number, raw))
    return Error::corruption("inode {} does not match its checksum", number);
  const auto mode = load_le<std::uint16_t>(raw, layout::inode::kMode);
  if (mode == 0 || load_le<std::uint16_t>(raw, layout::inode::kLinks) == 0)
    return Error::not_found("inode {} is not in use", number);
  if (!file_type_of_mode(mode)) return Error::corruption("inode {} has mode {:#o}", number, mode);
  return decode_inode(superblock(), number, raw);
}

Result<std::vector<DirectoryEntry>> Volume::list(const Inode& directory) const {
  std::vector<DirectoryEntry> entries;
  const auto visit = [&](const RawEntry& entry) -> Result<void> {
    if (entries.size() == kMostEntries) return Error::exhausted("more than {} entries", kMostEntries);
    entries.push_back({.name = std::string(entry.name), .inode = entry.inode, .file_type = entry.file_type});
    return {};
  };
  DADI_CHECK(walk_directory(*image_, directory, visit));
  return entries;
}

Result<std::optional<InodeNumber>> Volume::lookup(const Inode& directory, std::string_view name) const {
  std::optional<InodeNumber> found;
  const auto visit = [&](const RawEntry& entry) -> Result<void> {
    if (!found && entry.name == name) found = entry.inode;
    return {};
  };
  DADI_CHECK(walk_directory(*image_, directory, visit));
  return found;
}

Result<std::string> Volume::read_link(const Inode& symlink) const {
  if (symlink.attributes.type != FileType::kSymlink)
    return Error::invalid_argument("inode {} is not a symlink", symlink.number);
  DADI_CHECK(refuse_inline_data(symlink));
  if (symlink.size.value == 0 || symlink.size.value >= image_->block_size())
    return Error::corruption("inode {}: a symlink of {} bytes", symlink.number, symlink.size.value);
  std::string target(symlink.size.value, '\0');
  const auto bytes = std::as_writable_bytes(std::span(target));
  if (is_short_symlink(symlink))
    std::ranges::copy(std::span(symlink.block_map).first(target.size()), bytes.begin());
  else
    DADI_CHECK(read_content(*image_, symlink, 0, bytes));
  if (target.find('\0') != target.npos)
    return Error::corruption("inode {}: a symlink's target contains a NUL byte", symlink.number);
  return target;
}

Result<void> Volume::read(const Inode& file, Bytes offset, std::span<std::byte> out) const {
  if (file.attributes.type != FileType::kRegular)
    return Error::invalid_argument("inode {} is not a regular file", file.number);
  DADI_CHECK(refuse_inline_data(file));
  if (offset > file.size || out.size() > (file.size - offset).value)
    return Error::invalid_argument("inode {}: {} bytes at {} of a file of {}", file.number, out.size(), offset.value,
                                   file.size.value);
  return read_content(*image_, file, offset.value, out);
}

Result<std::vector<FileExtent>> Volume::extents(const Inode& inode) const {
  const FileType type = inode.attributes.type;
  std::vector<FileExtent> runs;
  DADI_CHECK(refuse_inline_data(inode));
  if ((type != FileType::kRegular && type != FileType::kDirectory && type != FileType::kSymlink) ||
      is_short_symlink(inode))
    return runs;
  BlockMapEvents events;
  events.fault = refuse;
  events.data = [&](const FileExtent& run) -> Result<void> {
    if (runs.size() == kMostExtents) return Error::exhausted("more than {} extents", kMostExtents);
    runs.push_back(run);
    return {};
  };
  DADI_CHECK(walk_block_map(*image_, inode, {}, events).context("inode {}", inode.number));
  return runs;
}

Result<Xattrs> Volume::xattrs(const Inode& inode) const {
  Xattrs xattrs;
  const auto visit = [&](const RawXattr& xattr) -> Result<void> {
    const auto name = xattr_name(xattr.name_index, xattr.suffix);
    if (!name) return {};
    if (xattr.value_inode != 0) return Error::unsupported("the value of {} is in an inode of its own", *name);
    DADI_TRY(std::string value, xattr_value(xattr.name_index, xattr.value).context("{}", *name));
    if (!xattrs.emplace(*name, std::move(value)).second) return Error::corruption("xattrs: {} is there twice", *name);
    return {};
  };
  DADI_TRY(const auto raw, image_->raw_inode(inode.number));
  if (const auto area = inode_xattr_area(raw); !area.empty())
    DADI_CHECK(walk_xattrs(area, 0, visit).context("inode {}", inode.number));
  if (inode.xattr_block == 0) return xattrs;

  const Error bad = Error::corruption("inode {}: its xattr block {} is none", inode.number, inode.xattr_block);
  if (!image_->holds(inode.xattr_block, 1)) return bad;
  DADI_TRY(const auto block, image_->read_block(inode.xattr_block));
  if (xattr_block_problem(block)) return bad;
  if (superblock().has_metadata_checksums() && load_le<std::uint32_t>(block, layout::xattr::kChecksum) !=
                                                   checksum::xattr_block(superblock(), inode.xattr_block, block))
    return Error::corruption("inode {}: its xattr block {} does not match its checksum", inode.number,
                             inode.xattr_block);
  DADI_CHECK(walk_xattrs(block, layout::xattr::kBlockHeaderSize, visit).context("inode {}", inode.number));
  return xattrs;
}

}  // namespace dadi::fs
