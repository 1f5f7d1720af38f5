#include "libformat/lsmt/segment.h"

#include "libformat/base/endian.h"

namespace dadi::lsmt {

namespace {

// Low word: offset, then length. High word: moffset, zeroed, tag.
constexpr unsigned kLengthShift = 50;
constexpr unsigned kZeroedShift = 55;
constexpr unsigned kTagShift = 56;

}  // namespace

Result<void> check_place(const Segment& segment, Sectors limit) {
  if (segment.moffset < kDataStart || segment.mend() > limit)
    return Error::corruption("its data, sectors [{}, {}), is not in [{}, {})", segment.moffset.value,
                             segment.mend().value, kDataStart.value, limit.value);
  return {};
}

Record decode_record(std::span<const std::byte> raw) {
  const auto low = load_le<std::uint64_t>(raw, 0);
  const auto high = load_le<std::uint64_t>(raw, 8);
  return {.segment = {.offset = {low & kNowhere.value},
                      .length = {low >> kLengthShift},
                      .moffset = {high & kMaxMoffset.value},
                      .zeroed = (high >> kZeroedShift & 1) != 0},
          .tag = static_cast<std::uint8_t>(high >> kTagShift)};
}

void encode_record(const Segment& segment, std::span<std::byte> raw) {
  store_le(raw, 0, segment.offset.value | segment.length.value << kLengthShift);
  store_le(raw, 8, segment.moffset.value | std::uint64_t{segment.zeroed} << kZeroedShift);
}

void encode_padding(std::span<std::byte> raw) {
  encode_record({.offset = kNowhere, .length = {}, .moffset = {}}, raw);
}

}  // namespace dadi::lsmt
