#include "runtime/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>

namespace dadi::runtime {

namespace {

// Outlives the call, since a helper may come when all is done: it finds no piece left then.
struct Shared {
  std::function<void(std::size_t)> work;
  std::size_t count = 0;
  std::atomic<std::size_t> next = 0;
  std::mutex mutex;
  std::condition_variable all_done;
  std::size_t done = 0;  // guarded by mutex

  void take_part() {
    std::size_t mine = 0;
    for (std::size_t i = next++; i < count; i = next++) {
      work(i);
      ++mine;
    }
    if (mine == 0) return;
    const std::lock_guard lock(mutex);
    done += mine;
    if (done == count) all_done.notify_all();
  }
};

}  // namespace

void for_each_in_parallel(WorkerPool& pool, std::size_t helpers, std::size_t count,
                          std::function<void(std::size_t)> work) {
  if (count == 0) return;
  const auto shared = std::make_shared<Shared>();
  shared->work = std::move(work);
  shared->count = count;
  for (std::size_t i = 0; i < std::min(helpers, count - 1); ++i) pool.submit([shared] { shared->take_part(); });
  shared->take_part();
  std::unique_lock lock(shared->mutex);
  shared->all_done.wait(lock, [&] { return shared->done == count; });
}

}  // namespace dadi::runtime
