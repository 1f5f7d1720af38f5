#include <algorithm>

#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"
#include "libformat/lsmt/header.h"
#include "libformat/lsmt/segment.h"
#include "tests/format/test_support.h"

namespace dadi::lsmt {
namespace {

using test::expect_error;
using test::must;

constexpr std::string_view kText = "C02FB491-B4D4-4904-8684-A014D032AF78";

TEST(Uuid, IsWrittenInUpperCaseAndReadInEither) {
  EXPECT_EQ(must(Uuid::parse(kText)).to_string(), kText);
  EXPECT_EQ(must(Uuid::parse("c02fb491-b4d4-4904-8684-a014d032af78")).to_string(), kText);
  EXPECT_EQ(Uuid{}.to_string(), "00000000-0000-0000-0000-000000000000");
  EXPECT_TRUE(must(Uuid::parse(Uuid{}.to_string())).is_null());
}

TEST(Uuid, TakesAHexDigitWhereADashBelongs) {
  EXPECT_EQ(must(Uuid::parse("C02FB491aB4D4F4904-8684-A014D032AF78")).to_string(), kText);
}

TEST(Uuid, RefusesOtherTexts) {
  for (const std::string_view text : {"", "C02FB491", "C02FB491-B4D4-4904-8684-A014D032AF7",
                                      "C02FB491-B4D4-4904-8684-A014D032AF788", "G02FB491-B4D4-4904-8684-A014D032AF78",
                                      "C02FB491 B4D4-4904-8684-A014D032AF78", "C02FB491--4D4-4904-8684-A014D032AF78"})
    expect_error(Uuid::parse(text), ErrorCode::kInvalidArgument, "not a uuid");
}

TEST(Uuid, OfAChainIdIsItsFirst32Digits) {
  const Digest digest = must(Digest::parse("sha256:c02fb491b4d449048684a014d032af7800112233445566778899aabbccddeeff"));
  EXPECT_EQ(Uuid::of(digest).to_string(), kText);
}

TEST(SegmentRecord, KeepsEveryFieldAtItsLimits) {
  for (const Segment& segment :
       {Segment{{0}, {1}, {8}, false}, Segment{kNowhere - Sectors{1}, kMaxLength, kMaxMoffset, true},
        Segment{{0}, kMaxLength, {0}, false}, Segment{{0x123456789ABC}, {77}, {0x23456789ABCDEF}, true}}) {
    std::array<std::byte, kRecordSize> raw{};
    encode_record(segment, raw);
    EXPECT_EQ(decode_record(raw).segment, segment);
    EXPECT_EQ(decode_record(raw).tag, 0);
    EXPECT_FALSE(decode_record(raw).is_padding());
  }
}

TEST(SegmentRecord, HasTheFormatsPaddingPattern) {
  std::array<std::byte, kRecordSize> raw{};
  encode_padding(raw);
  EXPECT_EQ(load_le<std::uint64_t>(raw, 0), 0x0003FFFFFFFFFFFFU);
  EXPECT_EQ(load_le<std::uint64_t>(raw, 8), 0U);
  EXPECT_TRUE(decode_record(raw).is_padding());
}

Header sample() {
  return {
      .flags = kCommittedTrailer,
      .index_offset = {81920},
      .index_size = 256,
      .info = {.virtual_size = {1U << 30}, .uuid = must(Uuid::parse(kText)), .parent = {}, .user_tag = "a message"}};
}

TEST(LayerHeader, GivesBackWhatWasWritten) {
  Header header = sample();
  for (const std::string& tag : {std::string(), std::string("x"), std::string(kMaxUserTag, 't')}) {
    header.info.user_tag = tag;
    const Header read = must(decode_header(encode_header(header)));
    EXPECT_EQ(read.info, header.info);
    EXPECT_EQ(read.flags, header.flags);
    EXPECT_EQ(read.index_offset, header.index_offset);
    EXPECT_EQ(read.index_size, header.index_size);
  }
}

TEST(LayerHeader, WritesANullUuidAsText) {
  const auto raw = encode_header(sample());
  EXPECT_EQ(as_text(std::span(raw).subspan(93, 37)), Uuid{}.to_string() + '\0');
}

TEST(LayerHeader, TakesAUuidThatWasNeverWrittenForNone) {
  auto raw = encode_header(sample());
  std::fill_n(raw.begin() + 56, 74, std::byte{0});
  EXPECT_TRUE(must(decode_header(raw)).info.uuid.is_null());
}

TEST(LayerHeader, NamesWhatIsWrong) {
  const auto changed = [](std::size_t at, std::uint8_t value) {
    auto raw = encode_header(sample());
    store_le(std::span<std::byte>(raw), at, value);
    return decode_header(raw);
  };
  expect_error(changed(0, 'l'), ErrorCode::kCorruption, "magic");
  expect_error(changed(23, 0), ErrorCode::kCorruption, "magic");
  expect_error(changed(24, 0), ErrorCode::kCorruption, "record size");
  expect_error(changed(48, 1), ErrorCode::kCorruption, "virtual size");
  expect_error(changed(55, 0xFF), ErrorCode::kCorruption, "virtual size");
  expect_error(changed(56, 'x'), ErrorCode::kCorruption, "uuid");
  expect_error(changed(92, 'x'), ErrorCode::kCorruption, "uuid");
  expect_error(changed(93, 'x'), ErrorCode::kCorruption, "parent: malformed uuid");
  expect_error(changed(132, 2), ErrorCode::kUnsupported, "version 2.1");
}

}  // namespace
}  // namespace dadi::lsmt
