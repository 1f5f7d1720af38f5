#include "libformat/lsmt/layer_writer.h"

#include <algorithm>

#include "libformat/base/endian.h"
#include "libformat/layer_file.h"
#include "tests/format/test_support.h"

namespace dadi::lsmt {
namespace {

using test::blob_of;
using test::Data;
using test::expect_error;
using test::make_layer;
using test::must;
using test::Random;

constexpr Bytes kDevice{1U << 20};

Data sectors(std::uint64_t count, int value) {
  return Data(count * kSectorSize, static_cast<std::byte>(value));
}

LayerReader open(const Data& layer) {
  return must(LayerReader::open(blob_of(layer)));
}

TEST(LayerWriter, KeepsDataInTheOrderOfArrivalAndTheIndexInThatOfTheDevice) {
  const Data layer = make_layer({.virtual_size = kDevice}, [](LayerWriter& writer) {
    must(writer.write({100}, sectors(2, 1)));
    must(writer.write({0}, sectors(3, 2)));
  });
  EXPECT_EQ(layer[4096], std::byte{1});
  EXPECT_EQ(layer[4096 + 1024], std::byte{2});
  const auto reader = open(layer);
  EXPECT_TRUE(std::ranges::equal(reader.segments(), std::vector<Segment>{{{0}, {3}, {10}}, {{100}, {2}, {8}}}));
}

TEST(LayerWriter, WritesALayerWithoutAnything) {
  const Data layer = make_layer({.virtual_size = kDevice}, [](LayerWriter&) {});
  EXPECT_EQ(layer.size(), 8192U);
  EXPECT_TRUE(open(layer).segments().empty());
  EXPECT_EQ(open(layer).info().virtual_size, kDevice);
}

TEST(LayerWriter, LeavesOverwrittenDataUnreferenced) {
  test::MemorySink sink;
  const auto writer = must(LayerWriter::create(sink, {.virtual_size = kDevice}));
  must(writer->write({0}, sectors(10, 1)));
  must(writer->write({5}, sectors(1, 2)));
  must(writer->write_zeroes({20}, {4}));
  must(writer->discard({0}, {2}));
  EXPECT_EQ(writer->records(), 4U);
  const auto summary = must(writer->finish());
  EXPECT_EQ(summary.records, 4U);
  EXPECT_EQ(summary.zeroed_records, 1U);
  EXPECT_EQ(summary.data, Bytes{11 * 512});
  EXPECT_EQ(summary.unreferenced, Bytes{3 * 512});
  EXPECT_EQ(summary.size.value, sink.bytes.size());
  const auto stack = test::stack_of({blob_of(sink.bytes)});
  Data out(6 * 512);
  must(stack->read_at({1}, out));
  EXPECT_EQ(out[0], std::byte{0});
  EXPECT_EQ(out[512], std::byte{1});
  EXPECT_EQ(out[4 * 512], std::byte{2});
}

TEST(LayerWriter, RefusesWhatDoesNotFit) {
  test::MemorySink sink;
  expect_error(LayerWriter::create(sink, {.virtual_size = {1000}}), ErrorCode::kInvalidArgument, "virtual size");
  expect_error(LayerWriter::create(sink, {.virtual_size = {~0ULL << 9}}), ErrorCode::kInvalidArgument, "virtual size");
  expect_error(LayerWriter::create(sink, {.virtual_size = {}, .user_tag = std::string(257, 'x')}),
               ErrorCode::kInvalidArgument, "user tag");
  expect_error(LayerWriter::create(sink, {.virtual_size = {}, .user_tag = std::string(1, '\0')}),
               ErrorCode::kInvalidArgument, "user tag");
  const auto writer = must(LayerWriter::create(sink, {.virtual_size = kDevice}));
  expect_error(writer->write({0}, Data(100)), ErrorCode::kInvalidArgument, "not sectors");
  expect_error(writer->write({2047}, sectors(2, 1)), ErrorCode::kInvalidArgument, "past the device's end");
  expect_error(writer->write_zeroes({~0ULL}, {2}), ErrorCode::kInvalidArgument, "past the device's end");
  expect_error(writer->discard({1}, {~0ULL}), ErrorCode::kInvalidArgument, "past the device's end");
  must(writer->write({2047}, sectors(1, 1)));
}

TEST(LayerWriter, PassesOnWhatItsSinkReports) {
  test::FullSink none(100);
  expect_error(LayerWriter::create(none, {.virtual_size = kDevice}), ErrorCode::kExhausted, "no space");
  test::FullSink some(5000);
  const auto writer = must(LayerWriter::create(some, {.virtual_size = kDevice}));
  must(writer->write({0}, sectors(1, 1)));
  expect_error(writer->write({1}, sectors(1, 1)), ErrorCode::kExhausted, "no space");
  test::FullSink without_index(4096 + 512);
  const auto other = must(LayerWriter::create(without_index, {.virtual_size = kDevice}));
  must(other->write({0}, sectors(1, 1)));
  expect_error(other->finish(), ErrorCode::kExhausted, "no space");
}

TEST(LayerWriter, PadsTheIndexToWholeGroups) {
  for (const std::uint64_t count : {1U, 255U, 256U, 257U}) {
    const Data layer = make_layer({.virtual_size = kDevice}, [&](LayerWriter& writer) {
      for (std::uint64_t i = 0; i < count; ++i) must(writer.write_zeroes({2 * i}, {1}));
    });
    const auto trailer = std::span(layer).last(4096);
    EXPECT_EQ(load_le<std::uint64_t>(trailer, 40), round_up(count, 256));
    EXPECT_EQ(layer.size(), 8192 + 16 * round_up(count, 256));
    EXPECT_EQ(open(layer).segments().size(), count);
  }
}

// Fills a layer with that many records, none of which merge.
Result<Data> layer_of_records(std::uint64_t count) {
  test::MemorySink sink;
  const auto writer = must(LayerWriter::create(sink, {.virtual_size = {count * 2 * kSectorSize}}));
  must(writer->write({0}, sectors(1, 1)));
  for (std::uint64_t i = 1; i < count; ++i) must(writer->write_zeroes({2 * i}, {1}));
  EXPECT_EQ(writer->records(), count);
  DADI_CHECK(writer->finish());
  return std::move(sink.bytes);
}

TEST(LayerWriter, RefusesOneRecordTooMany) {
  expect_error(layer_of_records(kMaxRecords + 1), ErrorCode::kExhausted, "999937 index records");
}

TEST(LayerWriter, FillsAnIndexToTheReferencesLimit) {
  const Data layer = must(layer_of_records(kMaxRecords));
  EXPECT_EQ(open(layer).segments().size(), kMaxRecords);
  DADI_REQUIRE_SHARED();
  test::expect_strict_reader_accepts({layer});
}

// Random writes, zeroes and discards through every kind of compression, and the independent reader's opinion.
void fill(LayerWriter& writer, Random& random, std::uint64_t device) {
  for (int i = 0; i < 60; ++i) {
    const std::uint64_t at = test::below(random, device);
    const std::uint64_t length = 1 + test::below(random, std::min<std::uint64_t>(device - at, 60));
    switch (test::below(random, 5)) {
      case 0:
        must(writer.write_zeroes({at}, {length}));
        break;
      case 1:
        must(writer.discard({at}, {length}));
        break;
      default:
        must(writer.write({at}, test::mixed_bytes(random, length * kSectorSize)));
    }
  }
}

TEST(LayerWriter, WritesWhatTheIndependentReaderAccepts) {
  DADI_REQUIRE_SHARED();
  Random random(11);
  for (const auto algorithm : {zfile::Algorithm::kLz4, zfile::Algorithm::kZstd}) {
    for (const std::uint32_t block_size : {4096U, 8192U, 16384U, 32768U}) {
      std::vector<Data> layers;
      for (int i = 0; i < 3; ++i) {
        const LayerInfo info{.virtual_size = kDevice,
                             .uuid = Uuid::of(Digest::of(test::random_bytes(random, 8))),
                             .user_tag = i == 2 ? std::string(256, 'u') : ""};
        const Data raw = make_layer(info, [&](LayerWriter& writer) { fill(writer, random, 2048); });
        layers.push_back(
            test::make_envelope(test::make_zfile(raw, {.algorithm = algorithm, .block_size = block_size})));
      }
      test::expect_same_device_by_strict_reader(layers);
    }
  }
}

TEST(LayerWriter, WritesUncompressedAndEmptyLayersThatTheIndependentReaderAccepts) {
  DADI_REQUIRE_SHARED();
  Random random(12);
  const Data empty = make_layer({.virtual_size = kDevice}, [](LayerWriter&) {});
  const Data full = make_layer({.virtual_size = kDevice}, [&](LayerWriter& writer) { fill(writer, random, 2048); });
  test::expect_same_device_by_strict_reader({empty});
  test::expect_same_device_by_strict_reader({full, empty});
  test::expect_same_device_by_strict_reader(
      {test::make_envelope(test::make_zfile(empty)), test::make_envelope(full), test::make_zfile(full)});
}

TEST(LayerWriter, Writes127LayersThatTheIndependentReaderStacks) {
  DADI_REQUIRE_SHARED();
  Random random(13);
  std::vector<Data> layers;
  for (int i = 0; i < 127; ++i) {
    const Data raw = make_layer({.virtual_size = kDevice}, [&](LayerWriter& writer) {
      const std::uint64_t at = 8 * test::below(random, 250);
      must(writer.write({at}, test::mixed_bytes(random, 16 * kSectorSize)));
      must(writer.write_zeroes({test::below(random, 2000)}, {5}));
    });
    layers.push_back(test::make_envelope(test::make_zfile(raw)));
  }
  test::expect_same_device_by_strict_reader(layers);
}

TEST(LayerWriter, SplitsLongRunsAsTheIndependentReaderExpects) {
  DADI_REQUIRE_SHARED();
  const Data layer = make_layer({.virtual_size = {100U << 20}}, [](LayerWriter& writer) {
    must(writer.write({3}, sectors(40000, 5)));
    must(writer.write_zeroes({50000}, {100000}));
  });
  test::expect_same_device_by_strict_reader({test::make_zfile(layer)});
}

}  // namespace
}  // namespace dadi::lsmt
