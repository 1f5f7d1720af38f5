// Segments: which sectors of a device a layer holds, and where. Format: formats.md, section 1.2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi::lsmt {

inline constexpr std::size_t kRecordSize = 16;  // a segment on disk, in bytes
inline constexpr Sectors kDataStart{8};         // data begins behind the header

inline constexpr Sectors kMaxLength{16383};                // of a record
inline constexpr Sectors kMaxMergedLength{16382};          // of a record that writers made of several
inline constexpr Sectors kNowhere{(1ULL << 50) - 1};       // the offset that marks padding; no segment reaches it
inline constexpr Sectors kMaxMoffset{(1ULL << 55) - 1};    //
inline constexpr std::uint64_t kPaddingUnit = 256;         // records of a committed index: a multiple of this
inline constexpr std::uint64_t kMaxReadRecords = 1000000;  // in an index that is read, padding included
inline constexpr std::uint64_t kMaxRecords = 999936;       // in an index that is written: the last multiple below
// Writers turn runs of zeros into zeroed segments only while a layer has fewer records than this.
inline constexpr std::uint64_t kZeroedLimit = 900000;

// Sectors [offset, offset + length) of the device are at `moffset` of the layer's file; or, zeroed, are zeros that hide
// what lies below and take no room.
struct Segment {
  Sectors offset{};
  Sectors length{};
  Sectors moffset{};
  bool zeroed = false;

  constexpr Sectors end() const { return offset + length; }
  constexpr Sectors mend() const { return zeroed ? moffset : moffset + length; }

  friend bool operator==(const Segment&, const Segment&) = default;
};

// That a segment's data lies in the file's sectors [8, limit). Errors: corruption.
Result<void> check_place(const Segment& segment, Sectors limit);

// A segment as an index holds it.
struct Record {
  Segment segment{};
  std::uint8_t tag = 0;  // 0; what merging left there in ordinary layers; 1 for TurboOCI's references to another file

  bool is_padding() const { return segment.offset == kNowhere; }
};

// REQUIRES: raw.size() >= kRecordSize.
Record decode_record(std::span<const std::byte> raw);

// REQUIRES: raw.size() >= kRecordSize; the segment is within the limits above.
void encode_record(const Segment& segment, std::span<std::byte> raw);
void encode_padding(std::span<std::byte> raw);

}  // namespace dadi::lsmt
