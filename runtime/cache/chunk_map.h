// Which chunks of a blob a cache holds, and what their bytes must be: the format of a cache's .map files.
//
//   0     "DADI\0MAP"              56    CRC-32C of what precedes
//   8     u32 version, 1           64    u64 whole: 1 once the blob as a whole had its digest
//   12    u32 chunk size           4096  a record for each chunk
//   16    u64 size of the blob
//   24    SHA-256 of the blob
//
// A record is a u32 seal, a u32 stamp (when the chunk was last used, in seconds since 1970; 0: the chunk is absent) and
// the CRC-32C of each granule (16 KiB) of the chunk. The seal is the CRC-32C of digest, chunk number and granule sums:
// what was torn, or belongs to another place, is no record. A chunk is read by granules, so a small read verifies
// little. All numbers are little-endian.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "libformat/base/digest.h"
#include "libformat/base/units.h"

namespace dadi::cache {

inline constexpr std::uint64_t kGranule = 16U << 10;
inline constexpr std::uint64_t kHeaderSize = 60;
inline constexpr std::uint64_t kWholeAt = 64;
inline constexpr std::uint64_t kRecordsAt = 4096;

// How a blob is divided. A value type; made by make() and parse_header() alone, so its numbers are sane.
class Geometry {
 public:
  // Errors: invalid_argument (a chunk that is not a power of two from 16 KiB to 16 MiB, or over 2^24 of them).
  static Result<Geometry> make(const Digest& digest, Bytes size, Bytes chunk);

  const Digest& digest() const { return digest_; }
  Bytes size() const { return size_; }
  std::uint64_t chunk() const { return chunk_; }  // bytes
  std::uint64_t chunks() const { return divide_up(size_.value, chunk_); }
  // Of one chunk: the last may be shorter.
  std::uint64_t length(std::uint64_t number) const { return std::min(chunk_, size_.value - number * chunk_); }
  std::size_t record_size() const { return 8 + 4 * (chunk_ / kGranule); }
  std::uint64_t record_at(std::uint64_t number) const { return kRecordsAt + number * record_size(); }
  std::uint64_t map_size() const { return record_at(chunks()); }

  friend bool operator==(const Geometry&, const Geometry&) = default;

 private:
  Geometry(const Digest& digest, Bytes size, std::uint64_t chunk) : digest_(digest), size_(size), chunk_(chunk) {}

  Digest digest_;
  Bytes size_;
  std::uint64_t chunk_;
};

std::array<std::byte, kHeaderSize> encode_header(const Geometry& geometry);
// Errors: corruption. Of any bytes.
Result<Geometry> parse_header(std::span<const std::byte> header);

// A chunk that is there.
struct Record {
  std::uint32_t stamp = 0;
  std::vector<std::uint32_t> sums;  // of its granules
};

// REQUIRES: `data` is the whole chunk, stamp is not 0.
std::vector<std::byte> encode_record(const Geometry& geometry, std::uint64_t number, std::span<const std::byte> data,
                                     std::uint32_t stamp);
// Nothing if the chunk is absent or the record is not sound. Of any bytes.
std::optional<Record> parse_record(const Geometry& geometry, std::uint64_t number, std::span<const std::byte> bytes);

// Whether `granules`, whole granules of a chunk from number `first` on, are what the record says.
bool matches(const Record& record, std::uint64_t first, std::span<const std::byte> granules);

}  // namespace dadi::cache
