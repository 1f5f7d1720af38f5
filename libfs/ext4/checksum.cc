#include "libfs/ext4/checksum.h"

#include <algorithm>
#include <array>

#include "libformat/base/crc32c.h"
#include "libformat/base/endian.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs::checksum {
namespace {

// CRC-16, reflected, polynomial 0x8005: two nibbles a byte, for structures of 64 bytes.
std::uint16_t crc16(std::uint16_t crc, std::span<const std::byte> data) {
  constexpr std::array<std::uint16_t, 16> kTable = {0x0000, 0xCC01, 0xD801, 0x1400, 0xF001, 0x3C00, 0x2800, 0xE401,
                                                    0xA001, 0x6C00, 0x7800, 0xB401, 0x5000, 0x9C01, 0x8801, 0x4400};
  unsigned value = crc;
  for (const std::byte byte : data) {
    value ^= std::to_integer<unsigned>(byte);
    value = (value >> 4) ^ kTable[value & 0xF];
    value = (value >> 4) ^ kTable[value & 0xF];
  }
  return static_cast<std::uint16_t>(value);
}

template <typename T>
std::array<std::byte, sizeof(T)> little_endian(T value) {
  std::array<std::byte, sizeof(T)> bytes;
  store_le<T>(bytes, 0, value);
  return bytes;
}

// The CRC-32C of `data` as if the `size` bytes at `hole` were zero: a structure's own checksum field.
std::uint32_t crc32c_around(std::uint32_t crc, std::span<const std::byte> data, std::size_t hole, std::size_t size) {
  constexpr std::array<std::byte, 4> kZeros = {};
  crc = crc32c_raw(data.first(hole), crc);
  crc = crc32c_raw(std::span(kZeros).first(size), crc);
  return crc32c_raw(data.subspan(hole + size), crc);
}

}  // namespace

std::uint32_t superblock(std::span<const std::byte> raw) {
  return crc32c_raw(raw.first(layout::super::kChecksum), ~std::uint32_t{0});
}

std::uint16_t group_descriptor(const Superblock& superblock, std::uint32_t group, std::span<const std::byte> raw) {
  const auto number = little_endian(group);
  if (superblock.has_metadata_checksums()) {
    const std::uint32_t crc = crc32c_raw(number, superblock.checksum_seed);
    return static_cast<std::uint16_t>(crc32c_around(crc, raw, layout::group::kChecksum, 2));
  }
  std::uint16_t crc = crc16(crc16(0xFFFF, superblock.uuid), number);
  crc = crc16(crc, raw.first(layout::group::kChecksum));
  return crc16(crc, raw.subspan(layout::group::kChecksum + 2));
}

std::uint32_t bitmap(const Superblock& superblock, std::span<const std::byte> raw) {
  return crc32c_raw(raw, superblock.checksum_seed);
}

std::uint32_t inode_seed(std::uint32_t seed, std::uint32_t number, std::uint32_t generation) {
  return crc32c_raw(little_endian(generation), crc32c_raw(little_endian(number), seed));
}

bool inode_checksum_is_wide(std::span<const std::byte> raw) {
  return raw.size() > layout::inode::kSmallSize && load_le<std::uint16_t>(raw, layout::inode::kExtraSize) >= 4;
}

std::uint32_t inode(std::uint32_t seed, std::uint32_t number, std::span<const std::byte> raw) {
  // Number, generation, and the inode up to the end of its checksum, at once: CRCs of few bytes each cost their calls.
  constexpr std::size_t kSeed = 8;
  const bool wide = inode_checksum_is_wide(raw);
  const std::size_t head = wide ? layout::inode::kChecksumHigh + 2 : layout::inode::kSmallSize;
  std::array<std::byte, kSeed + layout::inode::kChecksumHigh + 2> buffer;
  store_le(buffer, 0, number);
  std::ranges::copy(raw.subspan(layout::inode::kGeneration, 4), buffer.begin() + 4);
  const auto copy = std::span(buffer).subspan(kSeed, head);
  std::ranges::copy(raw.first(head), copy.begin());
  store_le(copy, layout::inode::kChecksumLow, std::uint16_t{0});
  if (wide) store_le(copy, layout::inode::kChecksumHigh, std::uint16_t{0});
  return crc32c_raw(raw.subspan(head), crc32c_raw(std::span(buffer).first(kSeed + head), seed));
}

std::uint32_t extent_block(std::uint32_t inode_seed, std::span<const std::byte> block) {
  const std::size_t maximum = load_le<std::uint16_t>(block, layout::extent::kMaximum);
  return crc32c_raw(block.first(layout::extent::kHeaderSize + maximum * layout::extent::kRecordSize), inode_seed);
}

std::uint32_t directory_block(std::uint32_t inode_seed, std::span<const std::byte> block) {
  return crc32c_raw(block.first(block.size() - layout::dirent::kTailSize), inode_seed);
}

std::uint32_t index_block(std::uint32_t inode_seed, std::span<const std::byte> block, std::size_t records) {
  const std::size_t limit = load_le<std::uint16_t>(block, records + layout::htree::kLimit);
  const std::size_t count = load_le<std::uint16_t>(block, records + layout::htree::kCount);
  const auto tail = block.subspan(records + limit * layout::htree::kRecordSize, layout::htree::kTailSize);
  const std::uint32_t crc = crc32c_raw(block.first(records + count * layout::htree::kRecordSize), inode_seed);
  return crc32c_around(crc, tail, layout::htree::kTailChecksum, 4);
}

std::uint32_t xattr_block(const Superblock& superblock, std::uint64_t number, std::span<const std::byte> block) {
  const std::uint32_t crc = crc32c_raw(little_endian(number), superblock.checksum_seed);
  return crc32c_around(crc, block, layout::xattr::kChecksum, 4);
}

}  // namespace dadi::fs::checksum
