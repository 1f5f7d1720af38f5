// The 512-byte record at both ends of a ZFile. Format: formats.md, sections 2.1 and 2.4.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi::zfile {

inline constexpr std::size_t kRecordSize = 512;
inline constexpr std::size_t kMagicSize = 24;

// Flag bits. Old writers left garbage above them.
inline constexpr std::uint64_t kIsHeader = 1;
inline constexpr std::uint64_t kIsData = 2;
inline constexpr std::uint64_t kSealed = 4;
inline constexpr std::uint64_t kHeaderOverwritten = 8;
inline constexpr std::uint64_t kHasDigest = 16;
inline constexpr std::uint64_t kIndexCompressed = 32;

inline constexpr std::uint64_t kHeaderFlags = kIsHeader | kIsData | kHeaderOverwritten | kHasDigest;  // as we write it
inline constexpr std::uint64_t kTrailerFlags = kIsData | kSealed | kHasDigest;

// The fields that mean anything.
struct Record {
  std::uint64_t flags = 0;
  Bytes index_offset{};
  std::uint64_t index_size = 0;  // entries
  Bytes original_size{};
  std::uint32_t index_crc = 0;
  std::uint32_t block_size = 0;
  std::uint8_t algorithm = 0;
  bool uses_dictionary = false;
  std::uint8_t verify = 0;
  bool digest_holds = false;  // there is a digest, and it is that of the record
};

bool has_magic(std::span<const std::byte> data);

// REQUIRES: raw.size() == kRecordSize. Errors: corruption (magic, a size of record that is not 96).
Result<Record> decode_record(std::span<const std::byte> raw);

// With its digest; what has no field is zero.
std::array<std::byte, kRecordSize> encode_record(const Record& record);

}  // namespace dadi::zfile
