// Work in pieces, done by the caller and by threads of a pool that happen to be free.
#pragma once

#include <cstddef>
#include <functional>

#include "runtime/worker_pool.h"

namespace dadi::runtime {

// Calls work(0) to work(count - 1), each once, by the caller's thread and up to `helpers` of the pool's, and returns
// when all of them have returned. Where the pool's threads are busy, the caller does it all: it waits for nothing but
// pieces that have begun, so tasks of the pool may use this too.
void for_each_in_parallel(WorkerPool& pool, std::size_t helpers, std::size_t count,
                          std::function<void(std::size_t)> work);

}  // namespace dadi::runtime
