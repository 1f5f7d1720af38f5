#include "libformat/trace/trace.h"

#include <map>
#include <set>

#include "libformat/base/bytes.h"
#include "libformat/base/crc32c.h"
#include "libformat/base/endian.h"
#include "tests/format/test_support.h"

namespace dadi::trace {
namespace {

using test::below;
using test::Data;
using test::expect_error;
using test::must;

using Reads = std::vector<Read>;

Read read(std::uint32_t layer, std::uint64_t offset, std::uint64_t size) {
  return {layer, {offset}, {size}};
}

// With the checksum that makes it pass.
Data sealed(Data data) {
  store_le<std::uint64_t>(data, 8, data.size() - kHeaderSize);
  store_le<std::uint32_t>(data, 16, crc32c_raw(std::span(data).subspan(kHeaderSize)));
  return data;
}

TEST(Trace, WhatIsWrittenIsRead) {
  const Reads reads{read(0, 4096, 512), read(3, 0, 1U << 20), read(0, 4096, 512), read(254, 1ULL << 40, 1)};
  const Data data = must(encode(reads));
  EXPECT_EQ(data.size(), 24 + 4 * 24);
  EXPECT_TRUE(has_magic(data));
  EXPECT_EQ(must(decode(data)), reads);
  EXPECT_EQ(must(decode(must(encode({})))), Reads{});
}

TEST(Trace, HasTheBytesThatItsFormatFixes) {
  const Data data = must(encode(Reads{read(1, 0x1122334455, 0x600)}));
  const std::string_view expected(
      "\x20\x18\xEF\xC2\0\0\0\0"
      "\x18\0\0\0\0\0\0\0"
      "\x5c\xac\x3f\x45\0\0\0\0"
      "R\0\0\0\1\0\0\0"
      "\0\6\0\0\0\0\0\0"
      "\x55\x44\x33\x22\x11\0\0\0",
      48);
  EXPECT_EQ(as_text(std::span(data).first(16)), expected.substr(0, 16));
  EXPECT_EQ(as_text(std::span(data).subspan(20)), expected.substr(20));
  EXPECT_EQ(load_le<std::uint32_t>(data, 16), crc32c_raw(std::span(data).subspan(24)));
}

TEST(Trace, LongReadsAreSplitAndEmptyOnesLeftOut) {
  const Data data = must(encode(Reads{read(2, 100, (2U << 20) + 5), read(1, 7, 0)}));
  EXPECT_EQ(must(decode(data)),
            (Reads{read(2, 100, 1U << 20), read(2, 100 + (1U << 20), 1U << 20), read(2, 100 + (2U << 20), 5)}));
}

// Its padding is garbage, which its checksum covers.
TEST(Trace, ReadsTheReferencesRecording) {
  const Data data = test::read_file(test::testdata() / "golden/trace/trace");
  EXPECT_TRUE(has_magic(data));
  EXPECT_EQ(must(decode(data)),
            (Reads{read(0, 0, 4096), read(1, 0, 4096), read(0, 3563520, 4096), read(1, 1843200, 4096),
                   read(0, 3559424, 4096), read(1, 1839104, 4096), read(1, 4096, 4096), read(1, 5120, 512),
                   read(1, 8192, 65536), read(1, 266240, 131072), read(0, 790528, 393216), read(0, 2232320, 4096)}));
}

TEST(Trace, TheIndependentReaderAcceptsWhatIsWritten) {
  DADI_REQUIRE_SHARED();
  const test::TemporaryFolder folder;
  const auto file = folder.path() / "trace";
  test::write_file(file, must(encode(Reads{read(0, 4096, 512), read(9, 100, 3U << 20)})));
  const auto outcome = test::run("python3 '" + (*test::shared() / "tools/strict_reader.py").string() +
                                 "' trace --modern '" + file.string() + "'");
  EXPECT_EQ(outcome.status, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("OK: 4 records"), std::string::npos) << outcome.output;
}

TEST(Trace, WhatIsNoTraceIsRefused) {
  const Data good = must(encode(Reads{read(0, 4096, 512), read(1, 0, 4096)}));
  for (std::size_t size = 0; size < good.size(); ++size) {
    expect_error(decode(std::span(good).first(size)), ErrorCode::kCorruption, "");
  }
  for (std::size_t i = 0; i < good.size(); ++i) {
    if ((i >= 4 && i < 8) || (i >= 20 && i < 24)) continue;  // padding of the header, which has no checksum
    Data bad = good;
    bad[i] ^= std::byte{0x10};
    expect_error(decode(bad), ErrorCode::kCorruption, "");
  }
  Data long_one = good;
  long_one.push_back({});
  expect_error(decode(long_one), ErrorCode::kCorruption, "stated");
}

TEST(Trace, RecordsThatCannotBeReadsAreRefused) {
  const auto with = [](std::size_t at, std::uint64_t value) {
    Data data = must(encode(Reads{read(0, 4096, 512)}));
    store_le<std::uint64_t>(data, kHeaderSize + at, value);
    return decode(sealed(std::move(data)));
  };
  expect_error(with(0, 'W'), ErrorCode::kCorruption, "read 0: operation");
  expect_error(with(8, ~0ULL), ErrorCode::kCorruption, "read 0: ");
  expect_error(with(16, 1ULL << 63), ErrorCode::kCorruption, "read 0: ");
  expect_error(with(16, (1ULL << 63) - 512), ErrorCode::kCorruption, "read 0: ");
  EXPECT_EQ(must(with(16, (1ULL << 63) - 513)), Reads{read(0, (1ULL << 63) - 513, 512)});
  EXPECT_EQ(must(with(8, 70ULL << 20)), Reads{read(0, 4096, 70ULL << 20)});  // as some writers did
}

TEST(Trace, MoreReadsThanAreSaneAreRefused) {
  expect_error(encode(Reads{read(0, 0, (kMostReads + 1) << 20)}), ErrorCode::kExhausted, "");
  expect_error(encode(Reads{read(0, 1ULL << 63, 1)}), ErrorCode::kInvalidArgument, "");
  Data data = must(encode(Reads{read(0, 0, kMostReads << 20)}));
  EXPECT_EQ(must(decode(data)).size(), kMostReads);
  data.resize(data.size() + kReadSize, std::byte{'R'});
  expect_error(decode(sealed(std::move(data))), ErrorCode::kExhausted, "");
}

TEST(TraceMerge, EachByteIsReadOnceAndNeighboursTogether) {
  EXPECT_EQ(without_repeats({read(0, 0, 10), read(0, 10, 10), read(0, 5, 10), read(1, 20, 5), read(0, 15, 10)}),
            (Reads{read(0, 0, 20), read(1, 20, 5), read(0, 20, 5)}));
  EXPECT_EQ(without_repeats({read(0, 10, 5), read(0, 0, 30)}),
            (Reads{read(0, 10, 5), read(0, 0, 10), read(0, 15, 15)}));
  EXPECT_EQ(without_repeats({read(0, 30, 0), read(0, 10, 50), read(0, 20, 0)}), Reads{read(0, 10, 50)});
  EXPECT_EQ(without_repeats({}), Reads{});
}

TEST(TraceMerge, AUnionIsInTheOrderInWhichAnyWantedIt) {
  const std::vector<Reads> traces{{read(0, 0, 4), read(0, 100, 4)}, {read(1, 0, 4), read(0, 102, 4)}};
  EXPECT_EQ(merge(traces, 1), (Reads{read(0, 0, 4), read(1, 0, 4), read(0, 100, 6)}));
}

TEST(TraceMerge, WhatTooFewReadIsLeftOut) {
  const std::vector<Reads> traces{{read(0, 0, 8), read(0, 0, 8)}, {read(0, 4, 8)}, {read(0, 6, 1), read(5, 0, 1)}};
  EXPECT_EQ(merge(traces, 2), (Reads{read(0, 4, 4)}));
  EXPECT_EQ(merge(traces, 3), (Reads{read(0, 6, 1)}));
  EXPECT_EQ(merge(traces, 4), Reads{});
}

// Against sets of single bytes.
TEST(TraceMerge, RandomRecordingsAgreeWithSets) {
  test::Random random(20);
  for (int round = 0; round < 300; ++round) {
    std::vector<Reads> traces(1 + below(random, 4));
    std::map<std::pair<std::uint32_t, std::uint64_t>, std::size_t> readers;
    for (Reads& reads : traces) {
      std::set<std::pair<std::uint32_t, std::uint64_t>> own;
      for (std::size_t i = below(random, 20); i > 0; --i) {
        reads.push_back(read(static_cast<std::uint32_t>(below(random, 3)), below(random, 60), below(random, 12)));
        for (auto at = reads.back().offset; at < reads.back().end(); at += Bytes{1})
          own.emplace(reads.back().layer, at.value);
      }
      for (const auto& place : own) ++readers[place];
    }
    const std::size_t least = 1 + below(random, traces.size());
    std::erase_if(readers, [&](const auto& place) { return place.second < least; });
    const Reads merged = merge(traces, least);
    EXPECT_EQ(total(merged).value, readers.size());
    for (const Read& part : merged) {
      for (auto at = part.offset; at < part.end(); at += Bytes{1}) ASSERT_EQ(readers.erase({part.layer, at.value}), 1U);
    }
    EXPECT_TRUE(readers.empty());
  }
}

}  // namespace
}  // namespace dadi::trace
