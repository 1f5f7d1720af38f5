// In which order an image's data is laid out for a trace.
#include "libconvert/pipeline/trace_layout.h"

#include <map>
#include <set>

#include "libformat/lsmt/device_places.h"
#include "tests/format/test_support.h"

namespace dadi::pipeline {
namespace {

using lsmt::LayerReader;
using lsmt::LayerWriter;
using lsmt::Segment;
using test::blob_of;
using test::make_layer;
using test::must;

constexpr Bytes kDevice{4U << 20};
constexpr Sectors kBlock{8};

LayerReader open(const test::Data& layer) {
  return must(LayerReader::open(blob_of(layer)));
}

// Blocks of 4 KiB, the first of them at `blocks[0]` of the device, and so on.
LayerReader blocks_at(const std::vector<std::uint64_t>& blocks) {
  return open(make_layer({.virtual_size = kDevice}, [&](LayerWriter& writer) {
    for (const std::uint64_t block : blocks) must(writer.write(kBlock * block, test::Data(4096)));
  }));
}

trace::Read block_read(std::uint64_t number, std::uint64_t count = 1) {  // of the file's data
  return {0, {4096 * (1 + number)}, {4096 * count}};
}

TraceLayout lay_out_one(const LayerReader& layer, const std::vector<trace::Read>& trace,
                        std::uint64_t most = lsmt::kMaxRecords) {
  const LayerReader* const layers[] = {&layer};
  return lay_out(trace, layers, {false}, most);
}

std::vector<std::uint64_t> blocks_of(const TraceLayout::Layer& layer) {
  std::vector<std::uint64_t> blocks;
  for (const Segment& segment : layer.order)
    for (Sectors at; at < segment.length; at += kBlock) blocks.push_back((segment.offset + at) / kBlock);
  return blocks;
}

TEST(TraceLayout, WhatIsReadComesFirstInTheOrderOfTheTraceAndTheRestInThatOfTheDevice) {
  const LayerReader layer = blocks_at({7, 3, 5, 1, 0, 9});
  const TraceLayout made = lay_out_one(layer, {block_read(3), block_read(0, 2), block_read(3)});
  ASSERT_TRUE(made.layers[0].anew);
  EXPECT_EQ(blocks_of(made.layers[0]), (std::vector<std::uint64_t>{1, 7, 3, 0, 5, 9}));
  EXPECT_EQ(made.layers[0].in_front, 3U);
  EXPECT_EQ(made.reads, (std::vector<trace::Read>{{0, {4096}, {3 * 4096}}}));
  EXPECT_EQ(made.recorded, Bytes{3 * 4096});
  EXPECT_EQ(made.left_out, Bytes{0});
}

TEST(TraceLayout, APartOfABlockIsTheBlock) {
  const LayerReader layer = blocks_at({2, 1});
  const TraceLayout made = lay_out_one(layer, {{0, {8192 + 700}, {10}}});
  EXPECT_EQ(blocks_of(made.layers[0]), (std::vector<std::uint64_t>{1, 2}));
  EXPECT_EQ(made.reads, (std::vector<trace::Read>{{0, {4096}, {4096}}}));
}

TEST(TraceLayout, LayersThatAreKeptOrNotReadKeepTheirPlaces) {
  const LayerReader layer = blocks_at({2, 1});
  const LayerReader* const layers[] = {&layer, &layer, nullptr};
  const std::vector<trace::Read> trace = {{1, {8192}, {100}}, {0, {8192}, {4096}}, {1, {0}, {5000}}};
  const TraceLayout made = lay_out(trace, layers, {false, true, false});
  EXPECT_TRUE(made.layers[0].anew);
  EXPECT_FALSE(made.layers[1].anew);
  EXPECT_FALSE(made.layers[2].anew);
  EXPECT_EQ(made.reads, (std::vector<trace::Read>{{1, {8192}, {100}}, {0, {4096}, {4096}}, {1, {4096}, {904}}}));
  EXPECT_EQ(made.left_out, Bytes{4096});  // of the header
}

TEST(TraceLayout, WhatIsNoDataIsLeftOutOfATraceOfWhatever) {
  const LayerReader layer = blocks_at({2, 1});
  std::vector<trace::Read> trace(1000, {0, {0}, {1ULL << 62}});
  trace.push_back({7, {0}, {4096}});
  trace.push_back({0xFFFFFFFF, {1ULL << 62}, {1ULL << 61}});
  const TraceLayout made = lay_out_one(layer, trace);
  EXPECT_EQ(made.recorded, Bytes{8192});
  EXPECT_EQ(made.left_out, Bytes{(1ULL << 62) - 8192 + 4096 + (1ULL << 61)});
  EXPECT_EQ(blocks_of(made.layers[0]), (std::vector<std::uint64_t>{2, 1}));
  const TraceLayout none = lay_out_one(layer, {{3, {0}, {4096}}});
  EXPECT_FALSE(none.layers[0].anew);
  EXPECT_TRUE(none.reads.empty());
}

TEST(TraceLayout, PiecesAreLargerWhereTheIndexWouldBeTooLong) {
  std::vector<std::uint64_t> blocks(512);
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = i;
  const LayerReader layer = blocks_at(blocks);
  std::vector<trace::Read> trace;
  for (std::uint64_t i = 512; i > 0; i -= 2) trace.push_back(block_read(i - 1));
  EXPECT_EQ(lay_out_one(layer, trace).recorded, Bytes{256 * 4096});
  const TraceLayout larger = lay_out_one(layer, trace, 100);
  EXPECT_EQ(larger.recorded, Bytes{512 * 4096});
  EXPECT_EQ(larger.layers[0].order.front(), (Segment{{8 * 504}, {64}, {8 + 8 * 504}}));
  EXPECT_TRUE(lay_out_one(layer, trace, 1).layers[0].anew);  // all of it
}

TEST(TraceLayout, ALayerWhoseIndexIsTooLongInAnyOtherOrderIsKept) {
  const LayerReader layer = blocks_at({2, 4, 6, 8});
  const TraceLayout made = lay_out_one(layer, {block_read(3)}, 3);
  EXPECT_FALSE(made.layers[0].anew);
  EXPECT_TRUE(made.layers[0].too_many);
  EXPECT_EQ(made.reads, (std::vector<trace::Read>{block_read(3)}));
}

// Segments as they come, in sectors, some zeroed, against maps of sectors.
TEST(TraceLayout, RandomLayersAgreeWithMapsOfSectors) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    test::Random random(seed);
    const LayerReader layer = open(make_layer({.virtual_size = kDevice}, [&](LayerWriter& writer) {
      for (std::uint64_t n = test::below(random, 60); n > 0; --n) {
        const Sectors at{test::below(random, 2000)}, length{1 + test::below(random, 40)};
        if (test::below(random, 4) == 0)
          must(writer.write_zeroes(at, length));
        else
          must(writer.write(at, test::Data(to_bytes(length).value)));
      }
    }));
    std::map<std::uint64_t, std::uint64_t> places;  // device sector: where it is
    std::map<std::uint64_t, std::uint64_t> devices;
    for (const Segment& segment : layer.segments())
      for (Sectors at; !segment.zeroed && at < segment.length; at += Sectors{1}) {
        places[(segment.offset + at).value] = (segment.moffset + at).value;
        devices[(segment.moffset + at).value] = (segment.offset + at).value;
      }
    std::vector<trace::Read> trace;
    for (std::uint64_t n = test::below(random, 30); n > 0; --n)
      trace.push_back({0, {test::below(random, 1 << 20)}, {1 + test::below(random, 9000)}});

    std::vector<std::uint64_t> wanted;  // device sectors, in order
    std::set<std::uint64_t> seen;
    for (const trace::Read& read : trace)
      for (std::uint64_t at = read.offset.value / 512; at * 512 < read.end().value; ++at)
        if (const auto device = devices.find(at); device != devices.end())
          for (std::uint64_t one = device->second / 8 * 8, end = one + 8; one < end; ++one)
            if (places.contains(one) && seen.insert(one).second) wanted.push_back(one);

    const TraceLayout made = lay_out_one(layer, trace);
    std::vector<std::uint64_t> order;
    for (const Segment& segment : made.layers[0].order)
      for (Sectors at; at < segment.length; at += Sectors{1}) {
        order.push_back((segment.offset + at).value);
        ASSERT_EQ(places.at((segment.offset + at).value), (segment.moffset + at).value) << seed;
      }
    ASSERT_EQ(made.layers[0].anew, !wanted.empty()) << seed;
    if (wanted.empty()) continue;
    ASSERT_EQ(order.size(), places.size()) << seed;
    ASSERT_EQ(std::set(order.begin(), order.end()).size(), places.size()) << seed;
    ASSERT_TRUE(std::equal(wanted.begin(), wanted.end(), order.begin())) << seed;
    ASSERT_TRUE(std::is_sorted(order.begin() + static_cast<std::ptrdiff_t>(wanted.size()), order.end())) << seed;
    ASSERT_EQ(made.reads, (std::vector<trace::Read>{{0, {4096}, {wanted.size() * 512}}})) << seed;
  }
}

}  // namespace
}  // namespace dadi::pipeline
