// The axes and cells of a trace's charts.
#include <gtest/gtest.h>

#include <random>

#include "apps/dadi/trace_axis.h"
#include "apps/dadi/trace_grid.h"

namespace dadi {
namespace {

constexpr std::uint64_t kFar = std::uint64_t{1} << 62;

TEST(TraceAxis, GivesWhatWasReadItsShareAndGapsLittle) {
  const TraceAxis axis({{0, {kFar}, {kFar + 300}}, {0, {0}, {500}}, {0, {400}, {600}}, {0, {600}, {700}}});
  EXPECT_EQ(axis.at(0, {0}), 0);
  EXPECT_NEAR(axis.at(0, {700}), 700 / 1125.0, 1e-9);  // a gap takes an eighth of what was read, of two stretches
  EXPECT_NEAR(axis.at(0, {kFar}), 825 / 1125.0, 1e-9);
  EXPECT_EQ(axis.at(0, {kFar + 300}), 1);
  EXPECT_EQ(axis.place(0).at, Bytes{0});
  EXPECT_EQ(axis.place(350 / 1125.0).at, Bytes{350});
  EXPECT_EQ(axis.place(1).at, Bytes{kFar + 300});
  ASSERT_EQ(axis.gaps(0.1).size(), 1U);
  EXPECT_TRUE(axis.gaps(0.2).empty());
}

TEST(TraceAxis, LeavesShortGapsAsTheyAre) {
  const TraceAxis axis({{0, {0}, {100}}, {0, {101}, {201}}});
  EXPECT_NEAR(axis.at(0, {101}), 101 / 201.0, 1e-9);
  EXPECT_TRUE(axis.gaps(0).empty());
}

TEST(TraceAxis, HasSpacesOneAfterTheOther) {
  const TraceAxis axis({{7, {0}, {100}}, {2, {kFar}, {kFar + 100}}});
  EXPECT_EQ(axis.at(2, {kFar}), 0);
  EXPECT_EQ(axis.at(7, {100}), 1);
  EXPECT_EQ(axis.place(0.1).space, 2U);
  EXPECT_EQ(axis.place(0.9).space, 7U);
  EXPECT_TRUE(axis.gaps(0).front().between_spaces);
  EXPECT_TRUE(TraceAxis({{1, {5}, {5}}}).empty());
}

using Levels = std::vector<std::array<unsigned, 5>>;  // row, column, columns, series, level

Levels levels(const TraceGrid& grid) {
  Levels found;
  for (const TraceGrid::Run& run : grid.runs())
    found.push_back({run.row, run.column, run.columns, run.series, run.level});
  return found;
}

TEST(TraceGrid, ARowIsARunOfWhatLooksTheSame) {
  TraceGrid grid(10, 3, 2);
  grid.add(0, 0.5, 1.5, 1.5, 0);
  grid.add(0.5, 0.52, 1.5, 1.5, 0);
  grid.add(0.52, 0.54, 1.5, 1.5, 0);
  grid.add(0.6, 1, 2.5, 2.5, 1);
  EXPECT_EQ(levels(grid), (Levels{{1, 0, 5, 0, 2}, {1, 5, 1, 0, 1}, {2, 6, 4, 1, 2}}));
}

TEST(TraceGrid, ACellIsOfTheSeriesThatHasMostOfIt) {
  TraceGrid grid(10, 1, 3);
  grid.add(0.30, 0.33, 0.5, 0.5, 2);
  grid.add(0.33, 0.39, 0.5, 0.5, 1);
  EXPECT_EQ(levels(grid), (Levels{{0, 3, 1, 1, 2}}));
}

TEST(TraceGrid, ALongReadGoesDiagonally) {
  TraceGrid grid(4, 4, 1);
  grid.add(0, 1, 0, 4, 0);
  EXPECT_EQ(levels(grid), (Levels{{0, 0, 1, 0, 2}, {1, 1, 1, 0, 2}, {2, 2, 1, 0, 2}, {3, 3, 1, 0, 2}}));
  TraceGrid steep(1, 4, 1);
  steep.add(0, 1, 0, 4, 0);
  EXPECT_EQ(levels(steep), (Levels{{0, 0, 1, 0, 1}, {1, 0, 1, 0, 1}, {2, 0, 1, 0, 1}, {3, 0, 1, 0, 1}}));
}

TEST(TraceGrid, WhateverIsAddedThereIsARunACellAtMost) {
  std::mt19937 random(1);
  std::uniform_real_distribution<> anywhere(-1, 3);
  TraceGrid grid(20, 10, 6);
  for (unsigned i = 0; i < 100'000; ++i) {
    const double begin = anywhere(random);
    grid.add(begin, begin + anywhere(random), 10 * anywhere(random), 10 * anywhere(random), i % 6);
  }
  EXPECT_LE(grid.runs().size(), 200U);
  for (const TraceGrid::Run& run : grid.runs()) {
    EXPECT_LT(run.row, 10U);
    EXPECT_LE(run.column + run.columns, 20U);
  }
}

}  // namespace
}  // namespace dadi
