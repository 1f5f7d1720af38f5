// Layers for fuzzers: described in few bytes, so that a changed byte changes a segment or a field, not one of the
// thousands of zeros in a layer's file. Every sector of data says whose it is.
#pragma once

#include <array>
#include <vector>

#include "libformat/base/endian.h"
#include "libformat/lsmt/header.h"
#include "libformat/lsmt/segment.h"
#include "tests/fuzz/fuzz_input.h"

namespace dadi::fuzz {

using Data = std::vector<std::byte>;

// What sector `moffset` of layer `number`'s file holds.
inline std::array<std::byte, kSectorSize> sector_content(std::size_t number, Sectors moffset) {
  std::array<std::byte, kSectorSize> content;
  content.fill(std::byte{0x5A});
  store_le(content, 0, std::uint64_t{number});
  store_le(content, 8, moffset.value);
  return content;
}

// A layer's name, size and tag.
inline lsmt::LayerInfo draft_info(Input& input) {
  lsmt::LayerInfo info;
  const unsigned bits = input.byte();
  info.virtual_size =
      bits & 1 ? Bytes{input.number<std::uint64_t>()} : to_bytes(Sectors{input.number<std::uint16_t>()});
  if (bits & 2) info.uuid.raw.fill(std::byte{input.byte()});
  if (bits & 4) info.parent.raw.fill(std::byte{input.byte()});
  if (bits & 8) info.user_tag = input.text(input.byte());
  return info;
}

// Appends a header and `sectors` of data of layer `number`.
inline void draft_data(Data& file, std::uint32_t flags, const lsmt::LayerInfo& info, std::size_t number,
                       Sectors sectors) {
  const auto header = lsmt::encode_header({.flags = flags, .info = info});
  file.insert(file.end(), header.begin(), header.end());
  for (Sectors at = lsmt::kDataStart; at < lsmt::kDataStart + sectors; at += Sectors{1}) {
    const auto content = sector_content(number, at);
    file.insert(file.end(), content.begin(), content.end());
  }
}

// Appends index records. Most are two small steps from the one before; some are any 16 bytes.
inline void draft_records(Input& input, Data& file, std::size_t count) {
  lsmt::Segment next{.offset = {}, .length = {}, .moffset = lsmt::kDataStart};
  for (; count > 0; --count) {
    std::array<std::byte, lsmt::kRecordSize> raw{};
    const unsigned bits = input.byte();
    if (bits & 1) {
      const auto given = input.bytes(raw.size());
      std::ranges::copy(given, raw.begin());
    } else if (bits & 2) {
      lsmt::encode_padding(raw);
    } else {
      if (bits & 4) next.offset += Sectors{input.byte()};
      if (bits & 8) next.offset = {input.number<std::uint16_t>() % std::uint64_t{1200}};
      if (bits & 16) next.moffset = {input.byte()};
      next.length =
          bits & 32 ? Sectors{input.number<std::uint16_t>() & lsmt::kMaxLength.value} : Sectors{1U + (bits >> 6)};
      next.zeroed = (bits & 16) == 0 && (input.byte() & 1) != 0;
      lsmt::encode_record(next, raw);
      next.offset += next.length;
      next.moffset = next.mend();
    }
    file.insert(file.end(), raw.begin(), raw.end());
  }
}

// Replaces a few bytes, anywhere.
inline void damage(Input& input, Data& file) {
  for (unsigned count = input.byte() % 8; count > 0 && !file.empty(); --count) {
    const std::size_t at = input.number<std::uint32_t>() % file.size();
    file[at] = std::byte{input.byte()};
  }
}

}  // namespace dadi::fuzz
