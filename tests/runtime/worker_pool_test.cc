#include "runtime/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <latch>

namespace dadi::runtime {
namespace {

TEST(WorkerPool, RunsEveryTaskBeforeItEnds) {
  std::atomic<int> done = 0;
  {
    WorkerPool pool("test", 3);
    for (int i = 0; i < 1000; ++i) pool.submit([&] { ++done; });
  }
  EXPECT_EQ(done, 1000);
}

TEST(WorkerPool, RunsAsManyTasksAtOnceAsItHasThreadsAndNoMore) {
  std::latch all_here(4);
  std::promise<void> go;
  const std::shared_future<void> gone = go.get_future().share();
  std::atomic<bool> fifth = false;
  WorkerPool pool("test", 4);  // ends first: its tasks look at the others
  for (int i = 0; i < 4; ++i) {
    pool.submit([&] {
      all_here.count_down();
      gone.wait();
    });
  }
  pool.submit([&] { fifth = true; });
  all_here.wait();  // never ends unless four run at once
  EXPECT_EQ(pool.threads(), 4U);
  EXPECT_FALSE(fifth);
  go.set_value();
}

TEST(WorkerPool, StartsNoThreadWithoutATask) {
  const WorkerPool pool("test", 4);
  EXPECT_EQ(pool.threads(), 0U);
}

TEST(WorkerPool, TasksMaySubmitTasks) {
  std::promise<void> done;
  WorkerPool pool("test", 1);
  pool.submit([&] { pool.submit([&] { done.set_value(); }); });
  done.get_future().wait();
}

}  // namespace
}  // namespace dadi::runtime
