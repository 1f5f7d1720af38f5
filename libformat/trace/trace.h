// Traces: which bytes of which layers a start read, in order. Format: formats.md, section 5.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi::trace {

inline constexpr std::size_t kHeaderSize = 24;
inline constexpr std::size_t kReadSize = 24;           // of a record
inline constexpr Bytes kLongestRead{1U << 20};         // in a record: readers have a buffer of that size
inline constexpr std::uint64_t kMostReads = 1U << 20;  // in a trace that is read or written

// Bytes [offset, offset + size) of a layer's file as LSMT has it, uncompressed and without its tar envelope.
struct Read {
  std::uint32_t layer = 0;  // 0 is the bottom
  Bytes offset{};
  Bytes size{};

  constexpr Bytes end() const { return offset + size; }
  friend auto operator<=>(const Read&, const Read&) = default;
};

// Whether this is a trace, and not a list of files, say.
bool has_magic(std::span<const std::byte> data);

// A trace is anybody's: layers that are not there, ranges beyond their end, reads over kLongestRead (which some writers
// recorded) and reads again and again are legal here. Of no read does the end overflow.
// Errors: corruption (magic, sizes, checksum, a record that is no read), exhausted (more than kMostReads).
Result<std::vector<Read>> decode(std::span<const std::byte> data);

// Long reads are split; empty ones are left out.
// Errors: exhausted (more than kMostReads), invalid_argument (an offset that the format cannot hold).
Result<std::vector<std::byte>> encode(std::span<const Read> reads);

// Several recordings as one: the bytes that at least `least` of them read, each once, in the order in which they were
// first wanted by any; neighbours that follow each other are one read.
// REQUIRES: least > 0. Time and memory: n log n of all the reads.
std::vector<Read> merge(std::span<const std::vector<Read>> traces, std::size_t least);

// The bytes of each read that no earlier one has, as merge() of one trace.
std::vector<Read> without_repeats(const std::vector<Read>& reads);

// All bytes, each time they are read.
Bytes total(std::span<const Read> reads);

}  // namespace dadi::trace
