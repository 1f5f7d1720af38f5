// The 4096-byte record at both ends of a layer. Format: formats.md, section 1.1.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "libformat/base/result.h"
#include "libformat/base/units.h"
#include "libformat/lsmt/uuid.h"

namespace dadi::lsmt {

inline constexpr std::size_t kHeaderSize = 4096;
inline constexpr std::size_t kMaxUserTag = 256;

// What a layer says about itself.
struct LayerInfo {
  Bytes virtual_size{};  // of the device; 0: that of the layer below
  Uuid uuid{};
  Uuid parent{};           // of the layer below
  std::string user_tag{};  // a commit message, at most kMaxUserTag bytes, without NUL

  friend bool operator==(const LayerInfo&, const LayerInfo&) = default;
};

// Values of the flags field.
inline constexpr std::uint32_t kCommittedHeader = 0x7;
inline constexpr std::uint32_t kCommittedTrailer = 0x6;  // of a sealed append-only layer too
inline constexpr std::uint32_t kAppendOnlyHeader = 0x3;
inline constexpr std::uint32_t kSparseHeader = 0x13;
inline constexpr std::uint32_t kSealedSparseTrailer = 0x16;
inline constexpr std::uint32_t kIndexHeader = 0x1;  // of the log beside an append-only layer

struct Header {
  std::uint32_t flags = 0;
  Bytes index_offset{};
  std::uint64_t index_size = 0;  // records
  LayerInfo info{};
};

// Whether data begins as every layer does.
bool has_magic(std::span<const std::byte> data);
inline constexpr std::size_t kMagicSize = 24;

// REQUIRES: raw.size() == kHeaderSize. What is reserved is not looked at.
// Errors: corruption (magic, record size, uuid, a virtual size that is not whole sectors), unsupported (version).
Result<Header> decode_header(std::span<const std::byte> raw);

// Whether a layer can say this of itself.
// Errors: invalid_argument (a virtual size that is not whole sectors or too large, a user tag too long or with a NUL).
Result<void> check_info(const LayerInfo& info);

// REQUIRES: the user tag has at most kMaxUserTag bytes.
std::array<std::byte, kHeaderSize> encode_header(const Header& header);

}  // namespace dadi::lsmt
