#include <lz4.h>

#include <algorithm>
#include <thread>

#include "libformat/base/bytes.h"
#include "libformat/base/crc32c.h"
#include "libformat/base/endian.h"
#include "libformat/zfile/format.h"
#include "libformat/zfile/reader.h"
#include "libformat/zfile/writer.h"
#include "tests/format/test_support.h"

namespace dadi::zfile {
namespace {

using test::all_of;
using test::blob_of;
using test::Data;
using test::expect_error;
using test::make_zfile;
using test::mixed_bytes;
using test::must;
using test::Random;

TEST(Crc32c, GivesTheKnownAnswers) {
  EXPECT_EQ(crc32c_raw(as_bytes("123456789")), 0x58E3FA20U);
  EXPECT_EQ(crc32c_raw(as_bytes("123456789"), 100007), 0x3C9BD4E0U);
  EXPECT_EQ(crc32c_raw({}, 100007), 0x000186A7U);
  EXPECT_EQ(crc32c_raw(Data(512)), 0U);
}

// Every combination that is written, with data that compresses and data that does not.
class ZFileRoundTrip : public testing::TestWithParam<std::tuple<Algorithm, std::uint32_t>> {};

TEST_P(ZFileRoundTrip, GivesBackEverySize) {
  const Options options{.algorithm = std::get<0>(GetParam()), .block_size = std::get<1>(GetParam())};
  Random random(options.block_size);
  for (const std::size_t size : {0U, 1U, options.block_size - 1, options.block_size, options.block_size + 1, 300000U}) {
    const Data raw = mixed_bytes(random, size);
    const auto reader = must(Reader::open(blob_of(make_zfile(raw, options))));
    EXPECT_EQ(all_of(*reader), raw);
    const Info& info = reader->info();
    EXPECT_EQ(info.algorithm, options.algorithm);
    EXPECT_EQ(info.block_size, options.block_size);
    EXPECT_EQ(info.blocks, divide_up(size, options.block_size));
    EXPECT_TRUE(info.verify && info.digests && info.header_authoritative);
  }
}

TEST_P(ZFileRoundTrip, ReadsAnyRange) {
  const Options options{.algorithm = std::get<0>(GetParam()), .block_size = std::get<1>(GetParam())};
  Random random(options.block_size);
  const Data raw = mixed_bytes(random, 200000);
  const auto reader = must(Reader::open(blob_of(make_zfile(raw, options))));
  for (int i = 0; i < 200; ++i) {
    const std::size_t from = test::below(random, raw.size() + 1);
    const std::size_t size = test::below(random, raw.size() - from + 1);
    Data out(size);
    must(reader->read_at({from}, out));
    EXPECT_TRUE(std::ranges::equal(out, std::span(raw).subspan(from, size))) << from << " " << size;
  }
}

INSTANTIATE_TEST_SUITE_P(AllOptions, ZFileRoundTrip,
                         testing::Combine(testing::Values(Algorithm::kLz4, Algorithm::kZstd),
                                          testing::Values(4096U, 8192U, 16384U, 32768U)));

TEST(BlockEncoder, RefusesOptionsThatTheReferenceCannotRead) {
  for (const std::uint32_t size : {0U, 512U, 2048U, 4097U, 12288U, 65536U})
    expect_error(BlockEncoder::create({.block_size = size}), ErrorCode::kInvalidArgument, "block size");
  for (const int level : {-1, 0, 20})
    expect_error(BlockEncoder::create({.algorithm = Algorithm::kZstd, .level = level}), ErrorCode::kInvalidArgument,
                 "level");
}

TEST(BlockEncoder, GivesEqualBytesWhateverCameBefore) {
  Random random(1);
  for (const Algorithm algorithm : {Algorithm::kLz4, Algorithm::kZstd}) {
    auto used = must(BlockEncoder::create({.algorithm = algorithm}));
    const Data block = mixed_bytes(random, 4096);
    Data first;
    must(used.encode(mixed_bytes(random, 4096), first));
    first.clear();
    must(used.encode(block, first));
    Data second;
    must(must(BlockEncoder::create({.algorithm = algorithm})).encode(block, second));
    EXPECT_EQ(first, second);
  }
}

TEST(DecodeBlock, RefusesABlockOfAnotherSize) {
  for (const Algorithm algorithm : {Algorithm::kLz4, Algorithm::kZstd}) {
    Data stored;
    must(must(BlockEncoder::create({.algorithm = algorithm})).encode(Data(4096, std::byte{9}), stored));
    Data small(4095);
    expect_error(decode_block(algorithm, true, stored, small), ErrorCode::kCorruption, "decompress");
    Data large(4097);
    expect_error(decode_block(algorithm, true, stored, large), ErrorCode::kCorruption, "4096 bytes, not 4097");
  }
}

TEST(DecodeBlock, RefusesTwoZstdFramesWhereOneBelongs) {
  auto encoder = must(BlockEncoder::create({.algorithm = Algorithm::kZstd}));
  Data first;
  must(encoder.encode(Data(2048, std::byte{1}), first));
  first.resize(first.size() - kChecksumSize);
  Data both = first;
  both.insert(both.end(), first.begin(), first.end());
  Data out(4096);
  expect_error(decode_block(Algorithm::kZstd, false, both, out), ErrorCode::kCorruption, "one zstd frame");
}

TEST(ZFileReader, GivesSingleBlocksToCallersWithTheirOwnThreads) {
  Random random(2);
  const Data raw = mixed_bytes(random, 50000);
  const Data blob = make_zfile(raw);
  const auto reader = must(Reader::open(blob_of(blob)));
  for (std::uint64_t block = 0; block < reader->info().blocks; ++block) {
    const auto range = reader->stored_range(block);
    Data out(reader->raw_size(block));
    must(reader->decode(block, std::span(blob).subspan(range.offset.value, range.size.value), out));
    EXPECT_TRUE(std::ranges::equal(out, std::span(raw).subspan(block * 4096, out.size())));
  }
  EXPECT_EQ(reader->raw_size(reader->info().blocks - 1), 50000U % 4096);
}

TEST(ZFileReader, ReadsFromManyThreadsAtOnce) {
  Random random(3);
  const Data raw = mixed_bytes(random, 400000);
  const auto reader = must(Reader::open(blob_of(make_zfile(raw, {.algorithm = Algorithm::kZstd}))));
  std::vector<std::jthread> threads;
  std::array<bool, 4> right{};
  for (std::size_t t = 0; t < right.size(); ++t) threads.emplace_back([&, t] { right[t] = all_of(*reader) == raw; });
  threads.clear();
  EXPECT_TRUE(std::ranges::all_of(right, std::identity{}));
}

TEST(ZFileReader, NamesTheBlockThatIsDamaged) {
  Random random(4);
  Data blob = make_zfile(mixed_bytes(random, 50000));
  const auto range = must(Reader::open(blob_of(blob)))->stored_range(7);
  blob[range.offset.value + range.size.value / 2] ^= std::byte{4};
  const auto reader = must(Reader::open(blob_of(blob)));
  Data out(50000);
  expect_error(reader->read_at({0}, out), ErrorCode::kCorruption, "zfile block 7: checksum");
  must(reader->read_at({0}, std::span(out).first(7UL * 4096)));  // the others are read
}

TEST(ZFileReader, FailsAReadPastTheEndAsAWhole) {
  const auto reader = must(Reader::open(blob_of(make_zfile(Data(5000)))));
  Data out(2);
  expect_error(reader->read_at({4999}, out), ErrorCode::kCorruption, "past the end");
  expect_error(reader->read_at({5001}, std::span(out).first(0)), ErrorCode::kCorruption, "past the end");
  must(reader->read_at({5000}, std::span(out).first(0)));
}

TEST(ZFileWriter, RefusesABlockAfterAShortOne) {
  test::MemorySink sink;
  Writer writer(sink, {});
  auto encoder = must(BlockEncoder::create({}));
  Data stored;
  must(encoder.encode(Data(100), stored));
  must(writer.add(stored, 100));
  expect_error(writer.add(stored, 100), ErrorCode::kInvalidArgument, "after 100 bytes");
}

TEST(ZFileWriter, PassesOnWhatItsSinkReports) {
  test::FullSink sink(100);
  Writer writer(sink, {});
  auto encoder = must(BlockEncoder::create({}));
  Data stored;
  must(encoder.encode(Data(4096), stored));
  must(writer.add(stored, 4096));
  expect_error(writer.finish(), ErrorCode::kExhausted, "no space");
}

// ---- ZFiles of other writers, made by changing ours ----

struct Ends {
  explicit Ends(Data& data) : header(std::span(data).first(kRecordSize)), trailer(std::span(data).last(kRecordSize)) {}
  std::span<std::byte> header;
  std::span<std::byte> trailer;
};

void set_flags(std::span<std::byte> record, std::uint64_t flags) {
  store_le(record, 32, flags);
}

void fix_digest(std::span<std::byte> record) {
  store_le(record, 28, std::uint32_t{0});
  store_le(record, 28, crc32c_raw(record));
}

TEST(ZFileReader, UsesTheTrailerWhereTheHeaderWasNotRewritten) {
  Random random(5);
  const Data raw = mixed_bytes(random, 9000);
  Data blob = make_zfile(raw);
  const Ends ends(blob);
  set_flags(ends.header, 0x13);
  std::ranges::fill(ends.header.subspan(40, 28), std::byte{0});
  fix_digest(ends.header);
  const auto reader = must(Reader::open(blob_of(blob)));
  EXPECT_FALSE(reader->info().header_authoritative);
  EXPECT_TRUE(reader->info().digests);
  EXPECT_EQ(all_of(*reader), raw);
}

// What writers before 2022 left in fields that they did not set.
TEST(ZFileReader, ReadsOldFilesWithGarbageInReservedFields) {
  Random random(6);
  const Data raw = mixed_bytes(random, 9000);
  for (int round = 0; round < 200; ++round) {
    Data blob = make_zfile(raw);
    const Ends ends(blob);
    for (const auto record : {ends.header, ends.trailer}) {
      for (const auto& [at, size] : {std::pair(28, 4), {64, 8}, {89, 7}, {96, 416}})
        std::ranges::copy(test::random_bytes(random, static_cast<std::size_t>(size)), record.begin() + at);
      const bool is_header = record.data() == ends.header.data();
      // Any bits from 3 on, with some above bit 5 as the sign of an old file.
      const std::uint64_t garbage = (random() & ~std::uint64_t{7}) | 0x7ffea4640000;
      set_flags(record, garbage | (is_header ? 3 : 6));
      if (is_header) std::ranges::copy(test::random_bytes(random, 24), record.begin() + 40);
    }
    const auto reader = must(Reader::open(blob_of(blob)));
    EXPECT_FALSE(reader->info().digests);
    EXPECT_EQ(all_of(*reader), raw);
  }
}

TEST(ZFileReader, ReadsFilesWithoutDigests) {
  Random random(7);
  const Data raw = mixed_bytes(random, 9000);
  Data blob = make_zfile(raw);
  const Ends ends(blob);
  for (const std::uint64_t header : {0x03U, 0x0BU}) {
    set_flags(ends.header, header);
    set_flags(ends.trailer, 0x06);
    const auto reader = must(Reader::open(blob_of(blob)));
    EXPECT_FALSE(reader->info().digests);
    EXPECT_EQ(all_of(*reader), raw);
  }
}

// A ZFile of lz4 blocks of any size, with or without checksums.
Data craft_lz4(const Data& raw, std::uint32_t block_size, bool verify) {
  Data blob(kRecordSize);
  Data table;
  for (std::size_t at = 0; at < raw.size(); at += block_size) {
    const auto block = std::span(raw).subspan(at, std::min<std::size_t>(block_size, raw.size() - at));
    Data stored(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(block.size()))));
    stored.resize(static_cast<std::size_t>(
        LZ4_compress_default(as_text(block).data(), reinterpret_cast<char*>(stored.data()),
                             static_cast<int>(block.size()), static_cast<int>(stored.size()))));
    const std::uint32_t crc = crc32c_raw(stored, 100007);
    if (verify) stored.resize(stored.size() + 4);
    if (verify) store_le(std::span(stored), stored.size() - 4, crc);
    table.resize(table.size() + 4);
    store_le(std::span(table), table.size() - 4, static_cast<std::uint32_t>(stored.size()));
    blob.insert(blob.end(), stored.begin(), stored.end());
  }
  Record record{.flags = 0x16,
                .index_offset = {blob.size()},
                .index_size = table.size() / 4,
                .original_size = {raw.size()},
                .index_crc = crc32c_raw(table),
                .block_size = block_size,
                .algorithm = 1,
                .verify = static_cast<std::uint8_t>(verify)};
  blob.insert(blob.end(), table.begin(), table.end());
  const auto trailer = encode_record(record);
  blob.insert(blob.end(), trailer.begin(), trailer.end());
  record.flags = 0x1B;
  std::ranges::copy(encode_record(record), blob.begin());
  return blob;
}

TEST(ZFileReader, ReadsBlocksOf64KiBThatGrewWhenCompressed) {
  Random random(8);
  const Data raw = test::random_bytes(random, 5 * 65536 + 100);
  const auto reader = must(Reader::open(blob_of(craft_lz4(raw, 65536, true))));
  EXPECT_GT(reader->info().longest_stored, 65536U);
  EXPECT_EQ(all_of(*reader), raw);
}

TEST(ZFileReader, ReadsBlocksWithoutChecksums) {
  Random random(9);
  const Data raw = mixed_bytes(random, 50000);
  const auto reader = must(Reader::open(blob_of(craft_lz4(raw, 4096, false))));
  EXPECT_FALSE(reader->info().verify);
  EXPECT_EQ(all_of(*reader), raw);
}

TEST(ZFileReader, RefusesBlockSizesThatNobodyWrites) {
  for (const std::uint32_t size : {2048U, 12288U, 131072U})
    expect_error(Reader::open(blob_of(craft_lz4(Data(size * 2), size, true))), ErrorCode::kCorruption, "block size");
}

TEST(ZFileReader, RefusesAlgorithmsAndDictionariesThatItDoesNotKnow) {
  const auto changed = [](std::size_t at, std::uint8_t value) {
    Data blob = make_zfile(Data(9000));
    const Ends ends(blob);
    for (const auto record : {ends.header, ends.trailer}) {
      store_le(record, at, value);
      fix_digest(record);
    }
    return Reader::open(blob_of(blob));
  };
  expect_error(changed(76, 0), ErrorCode::kUnsupported, "algorithm 0");
  expect_error(changed(78, 1), ErrorCode::kUnsupported, "dictionary");
  expect_error(changed(84, 1), ErrorCode::kUnsupported, "dictionary");
}

TEST(ZFileReader, RefusesACompressedJumpTable) {
  Data blob = make_zfile(Data(9000));
  const Ends ends(blob);
  set_flags(ends.header, 0x3B);
  set_flags(ends.trailer, 0x36);
  fix_digest(ends.header);
  fix_digest(ends.trailer);
  expect_error(Reader::open(blob_of(blob)), ErrorCode::kUnsupported, "compressed jump table");
}

// Each lie is told with sound digests, by header and trailer alike.
TEST(ZFileReader, RefusesJumpTablesThatLie) {
  const auto lie = [](std::size_t at, std::uint64_t value) {
    Data blob = make_zfile(Data(9000, std::byte{1}));
    const Ends ends(blob);
    for (const auto record : {ends.header, ends.trailer}) {
      store_le(record, at, value);
      fix_digest(record);
    }
    return Reader::open(blob_of(blob));
  };
  for (const std::uint64_t value : {0ULL, 511ULL, 512ULL, 4096ULL, ~0ULL, 1ULL << 63})
    expect_error(lie(40, value), ErrorCode::kCorruption, "jump table");
  for (const std::uint64_t value : {0ULL, 2ULL, 4ULL, ~0ULL, 1ULL << 62})
    expect_error(lie(48, value), ErrorCode::kCorruption, "blocks for");
  for (const std::uint64_t value : {0ULL, 4096ULL, 20000ULL, ~0ULL, 1ULL << 63})
    expect_error(lie(56, value), ErrorCode::kCorruption, "blocks for");
}

TEST(ZFileReader, RefusesStoredLengthsThatLie) {
  const auto lie = [](std::uint32_t first, std::uint32_t second) {
    Data blob = make_zfile(Data(9000, std::byte{1}));
    const Ends ends(blob);
    const auto at = load_le<std::uint64_t>(ends.trailer, 40);
    store_le(std::span(blob), at, first);
    store_le(std::span(blob), at + 4, second);
    for (const auto record : {ends.header, ends.trailer}) {
      store_le(record, 64, crc32c_raw(std::span(blob).subspan(at, 12)));
      fix_digest(record);
    }
    return Reader::open(blob_of(blob));
  };
  expect_error(lie(0, 30), ErrorCode::kCorruption, "block 0: 0 bytes stored");
  expect_error(lie(30, 4), ErrorCode::kCorruption, "block 1: 4 bytes stored");
  expect_error(lie(0xFFFFFFFF, 30), ErrorCode::kCorruption, "block 0: 4294967295 bytes stored");
  expect_error(lie(3000, 30), ErrorCode::kCorruption, "the blocks end at");
}

TEST(ZFileReader, RefusesAHeaderThatContradictsTheTrailer) {
  Data blob = make_zfile(Data(9000, std::byte{1}));
  const Ends ends(blob);
  store_le(ends.header, 56, std::uint64_t{9001});
  fix_digest(ends.header);
  expect_error(Reader::open(blob_of(blob)), ErrorCode::kCorruption, "header and trailer differ");
}

TEST(ZFileReader, TakesNoDamagedRecordForAnOldOne) {
  for (std::size_t at = 0; at < kRecordSize; ++at) {
    for (const bool trailer : {false, true}) {
      Data blob = make_zfile(Data(9000, std::byte{1}));
      const Ends ends(blob);
      (trailer ? ends.trailer : ends.header)[at] ^= std::byte{0x10};
      EXPECT_FALSE(Reader::open(blob_of(blob)).has_value()) << at;
    }
  }
}

}  // namespace
}  // namespace dadi::zfile
