#include "libfs/ext4/directory.h"

#include <algorithm>
#include <vector>

#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"
#include "libfs/ext4/checksum.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

namespace field = layout::dirent;

// In blocks of 64 KiB a length needs 17 bits: the low two, else always zero, hold the top ones.
std::size_t entry_length(std::size_t block_size, std::size_t stored) {
  if (block_size < 65536) return stored;
  if (stored == 65535 || stored == 0) return block_size;
  return (stored & 65532) | (stored & 3) << 16;
}

}  // namespace

Result<void> walk_entries(std::span<const std::byte> block, const std::function<Result<void>(const RawEntry&)>& visit) {
  for (std::size_t offset = 0; offset < block.size();) {
    const auto rest = block.subspan(offset);
    if (rest.size() < field::kSmallest) return Error::corruption("offset {}: no room for an entry", offset);
    RawEntry entry;
    entry.offset = offset;
    entry.length = entry_length(block.size(), load_le<std::uint16_t>(rest, field::kLength));
    entry.inode = load_le<std::uint32_t>(rest, field::kInode);
    entry.file_type = load_le<std::uint8_t>(rest, field::kFileType);
    const std::size_t name_length = load_le<std::uint8_t>(rest, field::kNameLength);
    if (entry.length < field::kSmallest || entry.length % 4 != 0 || entry.length > rest.size())
      return Error::corruption("offset {}: an entry of {} bytes", offset, entry.length);
    if (name_length > entry.length - field::kName)
      return Error::corruption("offset {}: a name of {} bytes in an entry of {}", offset, name_length, entry.length);
    entry.name = as_text(rest.subspan(field::kName, name_length));
    DADI_CHECK(visit(entry));
    offset += entry.length;
  }
  return {};
}

std::optional<std::string_view> name_problem(std::string_view name) {
  if (name.empty()) return "is empty";
  if (name == "." || name == "..") return "is reserved";
  if (name.find('/') != name.npos) return "contains a slash";
  if (name.find('\0') != name.npos) return "contains a NUL byte";
  return std::nullopt;
}

bool is_index_node(std::span<const std::byte> block) {
  return load_le<std::uint32_t>(block, field::kInode) == 0 &&
         entry_length(block.size(), load_le<std::uint16_t>(block, field::kLength)) == block.size();
}

Result<std::size_t> index_records(const Superblock& superblock, std::span<const std::byte> block, bool is_root) {
  const std::size_t records = is_root ? layout::htree::kRootEntries : layout::htree::kNodeEntries;
  const std::size_t tail = superblock.has_metadata_checksums() ? layout::htree::kTailSize : 0;
  const std::size_t room = (block.size() - records - tail) / layout::htree::kRecordSize;
  const std::size_t limit = load_le<std::uint16_t>(block, records + layout::htree::kLimit);
  const std::size_t count = load_le<std::uint16_t>(block, records + layout::htree::kCount);
  if (limit != room) return Error::corruption("room for {} index records stated as {}", room, limit);
  if (count == 0 || count > limit) return Error::corruption("{} index records in room for {}", count, limit);
  return records;
}

Result<void> check_directory_checksum(const Superblock& superblock, const Inode& directory, std::uint64_t logical,
                                      std::span<const std::byte> block) {
  if (!superblock.has_metadata_checksums()) return {};
  const std::uint32_t seed = checksum::inode_seed(superblock.checksum_seed, directory.number, directory.generation);
  const bool is_indexed = (directory.flags & layout::inode_flag::kIndexed) != 0;
  std::size_t stored = block.size() - field::kTailSize + field::kTailChecksum;
  std::uint32_t wanted = 0;
  if (is_indexed && (logical == 0 || is_index_node(block))) {
    DADI_TRY(const std::size_t records, index_records(superblock, block, logical == 0));
    const std::size_t limit = load_le<std::uint16_t>(block, records + layout::htree::kLimit);
    stored = records + limit * layout::htree::kRecordSize + layout::htree::kTailChecksum;
    wanted = checksum::index_block(seed, block, records);
  } else {
    const auto tail = block.last(field::kTailSize);
    if (load_le<std::uint32_t>(tail, field::kInode) != 0 ||
        load_le<std::uint16_t>(tail, field::kLength) != tail.size() ||
        load_le<std::uint8_t>(tail, field::kNameLength) != 0 ||
        load_le<std::uint8_t>(tail, field::kFileType) != field::kTailFileType)
      return Error::corruption("the block has no checksum");
    wanted = checksum::directory_block(seed, block);
  }
  if (load_le<std::uint32_t>(block, stored) == wanted) return {};
  return Error::corruption("the block does not match its checksum");
}

Result<void> walk_directory_blocks(const Image& image, const Inode& directory, LogicalRange range,
                                   const DirectoryBlockVisitor& visit,
                                   const std::function<Result<void>(Error)>& fault) {
  constexpr std::uint64_t kReadAhead = std::uint64_t{64} << 10;
  const std::uint64_t block_size = image.block_size();
  const std::uint64_t blocks = divide_up(directory.size.value, block_size);
  if (range.first >= blocks) return {};
  const std::uint64_t end = range.first + std::min(range.count, blocks - range.first);
  std::vector<std::byte> buffer;
  BlockMapEvents events;
  events.fault = fault;
  events.data = [&](const FileExtent& run) -> Result<void> {
    if (run.unwritten) return fault(Error::corruption("block {} of the directory is unwritten", run.logical));
    const std::uint64_t run_end = std::min(end, run.logical + run.count);
    for (std::uint64_t logical = std::max(range.first, run.logical); logical < run_end;) {
      const std::uint64_t count = std::min(std::max<std::uint64_t>(1, kReadAhead / block_size), run_end - logical);
      buffer.resize(count * block_size);
      const std::uint64_t physical = run.physical + (logical - run.logical);
      DADI_CHECK(image.read(physical, buffer));
      for (std::uint64_t i = 0; i < count; ++i)
        DADI_CHECK(visit(logical + i, physical + i, std::span(buffer).subspan(i * block_size, block_size)));
      logical += count;
    }
    return {};
  };
  return walk_block_map(image, directory, {.first = range.first, .count = end - range.first}, events);
}

}  // namespace dadi::fs
