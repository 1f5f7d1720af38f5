#include "runtime/cache/chunk_map.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "libformat/base/bytes.h"
#include "libformat/base/crc32c.h"
#include "libformat/base/endian.h"

namespace dadi::cache {

namespace {

constexpr std::string_view kMagic("DADI\0MAP", 8);
constexpr std::uint32_t kVersion = 1;
constexpr std::uint64_t kMostChunks = std::uint64_t{1} << 24;

// `sums`: as they are stored, of granules that the chunk has not, 0.
std::uint32_t seal_of(const Geometry& geometry, std::uint64_t number, std::span<const std::byte> sums) {
  std::array<std::byte, 8> place{};
  store_le<std::uint64_t>(place, 0, number);
  return crc32c_raw(sums, crc32c_raw(place, crc32c_raw(geometry.digest().raw(), ~0U)));
}

}  // namespace

Result<Geometry> Geometry::make(const Digest& digest, Bytes size, Bytes chunk) {
  if (!std::has_single_bit(chunk.value) || chunk.value < kGranule || chunk.value > (16U << 20))
    return Error::invalid_argument("chunks of {} bytes, not a power of two from 16 KiB to 16 MiB", chunk.value);
  if (divide_up(size.value, chunk.value) > kMostChunks)
    return Error::invalid_argument("{} bytes are more than 2^24 chunks of {}", size.value, chunk.value);
  return Geometry(digest, size, chunk.value);
}

std::array<std::byte, kHeaderSize> encode_header(const Geometry& geometry) {
  std::array<std::byte, kHeaderSize> header{};
  std::memcpy(header.data(), kMagic.data(), kMagic.size());
  store_le<std::uint32_t>(header, 8, kVersion);
  store_le<std::uint32_t>(header, 12, static_cast<std::uint32_t>(geometry.chunk()));
  store_le<std::uint64_t>(header, 16, geometry.size().value);
  std::memcpy(header.data() + 24, geometry.digest().raw().data(), Digest::kSize);
  store_le<std::uint32_t>(header, 56, crc32c_raw(std::span(header).first(56), ~0U));
  return header;
}

Result<Geometry> parse_header(std::span<const std::byte> header) {
  if (header.size() < kHeaderSize || as_text(header.first(8)) != kMagic) return Error::corruption("no map of a cache");
  if (load_le<std::uint32_t>(header, 56) != crc32c_raw(header.first(56), ~0U))
    return Error::corruption("the header's checksum does not match");
  if (load_le<std::uint32_t>(header, 8) != kVersion)
    return Error::corruption("version {}, not {}", load_le<std::uint32_t>(header, 8), kVersion);
  std::array<std::byte, Digest::kSize> digest{};
  std::memcpy(digest.data(), header.data() + 24, digest.size());
  auto geometry =
      Geometry::make(Digest(digest), {load_le<std::uint64_t>(header, 16)}, {load_le<std::uint32_t>(header, 12)});
  if (!geometry) return Error::corruption("{}", geometry.error().message());
  return geometry;
}

std::vector<std::byte> encode_record(const Geometry& geometry, std::uint64_t number, std::span<const std::byte> data,
                                     std::uint32_t stamp) {
  std::vector<std::byte> record(geometry.record_size());
  store_le<std::uint32_t>(record, 4, stamp);
  for (std::size_t at = 8; !data.empty(); at += 4) {
    const auto granule = data.first(std::min<std::size_t>(kGranule, data.size()));
    store_le<std::uint32_t>(record, at, crc32c_raw(granule, ~0U));
    data = data.subspan(granule.size());
  }
  store_le<std::uint32_t>(record, 0, seal_of(geometry, number, std::span(record).subspan(8)));
  return record;
}

std::optional<Record> parse_record(const Geometry& geometry, std::uint64_t number, std::span<const std::byte> bytes) {
  if (bytes.size() != geometry.record_size() || number >= geometry.chunks()) return std::nullopt;
  Record record{.stamp = load_le<std::uint32_t>(bytes, 4), .sums = {}};
  if (record.stamp == 0 || load_le<std::uint32_t>(bytes, 0) != seal_of(geometry, number, bytes.subspan(8)))
    return std::nullopt;
  record.sums.resize(divide_up(geometry.length(number), kGranule));
  for (std::size_t i = 0; i < record.sums.size(); ++i) record.sums[i] = load_le<std::uint32_t>(bytes, 8 + 4 * i);
  return record;
}

bool matches(const Record& record, std::uint64_t first, std::span<const std::byte> granules) {
  for (; !granules.empty(); ++first) {
    const auto granule = granules.first(std::min<std::size_t>(kGranule, granules.size()));
    if (first >= record.sums.size() || record.sums[first] != crc32c_raw(granule, ~0U)) return false;
    granules = granules.subspan(granule.size());
  }
  return true;
}

}  // namespace dadi::cache
