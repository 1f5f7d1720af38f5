// Blocks of directories: their entries, and the checksums at their end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>

#include "libformat/base/result.h"
#include "libfs/ext4/block_map.h"
#include "libfs/ext4/image.h"
#include "libfs/ext4/volume.h"

namespace dadi::fs {

// An entry where it lies. Without an inode number it is free room.
struct RawEntry {
  std::size_t offset = 0;  // in the block
  std::size_t length = 0;  // to the next entry
  InodeNumber inode = 0;
  std::uint8_t file_type = 0;  // zero without the filetype feature
  std::string_view name;       // any bytes; borrowed from the block
};

// Visits the entries of a block in order, free ones and the checksum's included. REQUIRES: the block is block_size
// long. Errors: corruption (entries do not fill the block exactly, or a name does not fit its entry), those of the
// visitor.
Result<void> walk_entries(std::span<const std::byte> block, const std::function<Result<void>(const RawEntry&)>& visit);

// What is wrong with a name of an ordinary entry, if anything: empty, ".", "..", or with a slash or NUL.
std::optional<std::string_view> name_problem(std::string_view name);

// A directory's index spread over some of its blocks: the first one's root, and nodes.
bool is_index_node(std::span<const std::byte> block);

// Where the index records of a block begin: of block 0 of an indexed directory those of the root, else a node's.
// Errors: corruption (no room for as many records as are stated).
Result<std::size_t> index_records(const Superblock& superblock, std::span<const std::byte> block, bool is_root);

// Whether the block `logical` of a directory matches its checksum, of an index or of entries, whichever it has.
// Errors: corruption (it does not).
Result<void> check_directory_checksum(const Superblock& superblock, const Inode& directory, std::uint64_t logical,
                                      std::span<const std::byte> block);

// Sees a directory's block, its number in the directory and in the file system.
using DirectoryBlockVisitor =
    std::function<Result<void>(std::uint64_t logical, std::uint64_t physical, std::span<const std::byte> block)>;

// Visits blocks of a directory in order, leaving out holes. Checksums are not looked at. What is wrong with the block
// map, and blocks that are unwritten, go to `fault`; if that returns no error, the walk leaves them out.
// Errors: those of `visit`, `fault` and the device.
Result<void> walk_directory_blocks(const Image& image, const Inode& directory, LogicalRange range,
                                   const DirectoryBlockVisitor& visit, const std::function<Result<void>(Error)>& fault);

}  // namespace dadi::fs
