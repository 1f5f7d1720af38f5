#include "libformat/lsmt/segment_map.h"

#include <optional>

#include "tests/format/test_support.h"

namespace dadi::lsmt {
namespace {

using test::below;
using test::Random;

// What a sector holds: nothing, zeros (0), or the data at some place.
using Naive = std::vector<std::optional<std::uint64_t>>;

Naive unfolded(const std::vector<Segment>& segments, std::size_t size) {
  Naive sectors(size);
  for (const Segment& segment : segments)
    for (std::uint64_t i = 0; i < segment.length.value; ++i)
      sectors.at(segment.offset.value + i) = segment.zeroed ? 0 : segment.moffset.value + i;
  return sectors;
}

void expect_sound(const SegmentMap& map) {
  const auto segments = map.segments();
  EXPECT_EQ(segments.size(), map.size());
  std::uint64_t zeroed = 0;
  Sectors data{};
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const Segment& b = segments[i];
    EXPECT_TRUE(b.length.value > 0 && b.length <= kMaxMergedLength);
    zeroed += b.zeroed ? 1 : 0;
    if (!b.zeroed) data += b.length;
    if (i == 0) continue;
    const Segment& a = segments[i - 1];
    EXPECT_LE(a.end(), b.offset);
    const bool mergeable = a.end() == b.offset && a.zeroed == b.zeroed && a.mend() == b.moffset;
    EXPECT_FALSE(mergeable && a.length + b.length <= kMaxMergedLength) << "at " << b.offset.value;
  }
  EXPECT_EQ(map.zeroed_size(), zeroed);
  EXPECT_EQ(map.data(), data);
}

TEST(SegmentMap, EqualsTheNaiveMapAfterAnyWrites) {
  constexpr std::uint64_t kDevice = 300;
  for (unsigned seed = 0; seed < 60; ++seed) {
    Random random(seed);
    SegmentMap map;
    Naive naive(kDevice);
    std::uint64_t cursor = kDataStart.value;
    for (int step = 0; step < 200; ++step) {
      // Often right behind the write before, so that runs form and are broken.
      const std::uint64_t at = below(random, kDevice);
      const std::uint64_t length = 1 + below(random, std::min<std::uint64_t>(kDevice - at, 1 + below(random, 40)));
      const auto kind = below(random, 4);
      if (kind == 0) {
        map.erase({at}, {length});
      } else {
        map.insert({{at}, {length}, {cursor}, kind == 1});
      }
      for (std::uint64_t i = 0; i < length; ++i) {
        naive[at + i] = kind == 0 ? std::nullopt : std::optional(kind == 1 ? 0 : cursor + i);
      }
      if (kind > 1) cursor += length + below(random, 2);
      if (step % 10 == 0) expect_sound(map);
    }
    expect_sound(map);
    EXPECT_EQ(unfolded(map.segments(), kDevice), naive) << "seed " << seed;
  }
}

TEST(SegmentMap, MergesWhatContinuesOnDeviceAndInFile) {
  SegmentMap map;
  map.insert({{0}, {8}, {8}});
  map.insert({{16}, {8}, {24}});
  EXPECT_EQ(map.size(), 2U);
  map.insert({{8}, {8}, {16}});  // joins both
  EXPECT_EQ(map.segments(), (std::vector<Segment>{{{0}, {24}, {8}}}));
  map.insert({{24}, {8}, {100}});  // continues on the device only
  EXPECT_EQ(map.size(), 2U);
}

TEST(SegmentMap, SplitsLongRunsAtWhatWritersMayMerge) {
  SegmentMap map;
  map.insert({{5}, {40000}, {8}});
  EXPECT_EQ(map.segments(),
            (std::vector<Segment>{{{5}, {16382}, {8}}, {{16387}, {16382}, {16390}}, {{32769}, {7236}, {32772}}}));
  map.insert({{50000}, {16382}, {}, true});
  map.insert({{66382}, {1}, {}, true});
  EXPECT_EQ(map.zeroed_size(), 2U);
  expect_sound(map);
}

TEST(SegmentMap, PlacesZeroesWhereTheDataBeforeEnds) {
  SegmentMap map;
  map.insert({{0}, {4}, {}, true});
  map.insert({{4}, {10}, {20}});
  map.insert({{14}, {4}, {}, true});
  EXPECT_EQ(map.segments(), (std::vector<Segment>{{{0}, {4}, {8}, true}, {{4}, {10}, {20}}, {{14}, {4}, {30}, true}}));
}

TEST(SegmentMap, TakesAMillionSegmentsInAnyOrder) {
  constexpr std::uint64_t kCount = 1000000;
  SegmentMap ascending;
  SegmentMap scattered;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const std::uint64_t j = i * 7919 % kCount;
    ascending.insert({{2 * i}, {1}, {8 + 2 * i}});
    scattered.insert({{2 * j}, {1}, {8 + 2 * j}});
  }
  EXPECT_EQ(ascending.size(), kCount);
  EXPECT_EQ(scattered.size(), kCount);
  scattered.erase({0}, kNowhere);
  EXPECT_EQ(scattered.size(), 0U);
  EXPECT_EQ(scattered.data(), Sectors{0});
}

}  // namespace
}  // namespace dadi::lsmt
