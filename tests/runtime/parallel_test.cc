#include "runtime/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <vector>

namespace dadi::runtime {
namespace {

TEST(ForEachInParallel, DoesEveryPieceOnceBeforeItReturns) {
  WorkerPool pool("test", 3);
  for (const std::size_t count : {0, 1, 2, 3, 100}) {
    std::vector<std::atomic<int>> done(count);
    for_each_in_parallel(pool, 3, count, [&](std::size_t i) { ++done[i]; });
    for (const auto& times : done) EXPECT_EQ(times, 1);
  }
}

TEST(ForEachInParallel, RunsAsManyPiecesAtOnceAsThereAreHelpersAndTheCaller) {
  WorkerPool pool("test", 8);
  std::latch all_here(4);
  for_each_in_parallel(pool, 3, 4, [&](std::size_t) { all_here.arrive_and_wait(); });  // else it never ends
}

TEST(ForEachInParallel, EndsInsideOfAPoolThatIsBusyWithNothingElse) {
  WorkerPool pool("test", 2);
  std::atomic<int> done = 0;
  for_each_in_parallel(pool, 2, 8,
                       [&](std::size_t) { for_each_in_parallel(pool, 2, 8, [&](std::size_t) { ++done; }); });
  EXPECT_EQ(done, 64);
}

}  // namespace
}  // namespace dadi::runtime
