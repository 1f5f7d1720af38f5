// Small ext4 file systems of several kinds, made in memory, to be damaged.
#pragma once

#include <vector>

#include "libformat/blob/block_reader.h"
#include "tests/fuzz/fuzz_input.h"

namespace dadi::fuzz {

// A device in memory.
class MemoryDevice final : public BlockReader {
 public:
  explicit MemoryDevice(std::vector<std::byte> content) : bytes(std::move(content)) {}

  Sectors size() const override { return whole_sectors(bytes); }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext&) const override {
    if (at > size() || whole_sectors(out) > size() - at) return Error::io("read past the end of the device");
    std::ranges::copy(std::span(bytes).subspan(to_bytes(at).value, out.size()), out.begin());
    return {};
  }
  Result<Extent> next_extent(Sectors at) const override { return Extent{Extent::Kind::kData, size() - at}; }

  std::vector<std::byte> bytes;
};

enum class Ext4Kind {
  kPlanned,    // by our writer: everything has checksums
  kUnchecked,  // the same without checksums
  kIndirect,   // as ext2 was: block maps, blocks of 1 KiB, inodes of 128 bytes
  kExtents,    // as ext4 was at first: extents, checksums of groups
};
inline constexpr std::size_t kExt4Kinds = 4;

// A sound file system with something of everything.
std::vector<std::byte> draft_ext4(Ext4Kind kind);

}  // namespace dadi::fuzz
