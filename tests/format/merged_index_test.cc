#include "libformat/lsmt/merged_index.h"

#include "tests/format/test_support.h"

namespace dadi::lsmt {
namespace {

using test::below;
using test::must;
using test::Random;

// Segments of up to 8 sectors with gaps of up to 3 between them, from `at` on.
std::vector<Segment> random_segments(Random& random, std::size_t count, std::uint64_t at) {
  std::vector<Segment> segments;
  for (std::size_t i = 0; i < count; ++i) {
    at += below(random, 4);
    const std::uint64_t length = 1 + below(random, 8);
    segments.push_back({.offset = {at}, .length = {length}, .moffset = {8 + 8 * i}, .zeroed = below(random, 5) == 0});
    at += length;
  }
  return segments;
}

// What a list of segments says about a sector, by looking at all of them.
MergedIndex::Piece naive(const std::vector<Segment>& segments, Sectors at, Sectors size) {
  MergedIndex::Piece piece{.kind = Extent::Kind::kHole, .at = at, .length = size - at};
  for (const Segment& segment : segments) {
    if (segment.end() <= at) continue;
    if (segment.offset > at) {
      piece.length = segment.offset - at;
    } else {
      piece.kind = segment.zeroed ? Extent::Kind::kZero : Extent::Kind::kData;
      piece.length = segment.end() - at;
      if (!segment.zeroed) piece.moffset = segment.moffset + (at - segment.offset);
    }
    break;
  }
  return piece;
}

void expect_lookups(const std::vector<Segment>& segments, Sectors from, Sectors size) {
  const std::vector<std::span<const Segment>> layers{segments};
  const MergedIndex index = must(MergedIndex::merge(layers, size));
  for (const auto with : {SearchTree::Instructions::kPortable, SearchTree::best()}) {
    for (Sectors at = from; at < size; at += {1}) {
      const auto found = index.from(at, with).next();
      const auto expected = naive(segments, at, size);
      ASSERT_EQ(static_cast<int>(found.kind), static_cast<int>(expected.kind)) << "sector " << at.value;
      ASSERT_EQ(found.at, expected.at);
      ASSERT_EQ(found.length, expected.length) << "sector " << at.value;
      ASSERT_EQ(found.moffset, expected.moffset) << "sector " << at.value;
    }
    ASSERT_TRUE(index.from(size, with).at_end());
  }
}

TEST(MergedIndex, AnswersForEverySectorWhateverTheNumberOfSegments) {
  Random random(4);
  for (std::size_t count = 0; count <= 70; ++count) {
    // Below 1 TiB, across it, and at the end of what the format can say.
    for (const std::uint64_t base : {std::uint64_t{0}, (std::uint64_t{1} << 31) - 200, kNowhere.value - 1000}) {
      const auto segments = random_segments(random, count, base);
      const Sectors end = segments.empty() ? Sectors{base} : segments.back().end();
      expect_lookups(segments, {base}, end + Sectors{below(random, 3)});
      if (testing::Test::HasFatalFailure()) FAIL() << count << " segments from " << base;
    }
  }
}

}  // namespace
}  // namespace dadi::lsmt
