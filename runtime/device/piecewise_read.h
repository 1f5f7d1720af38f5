// Large reads, done by several threads.
#pragma once

#include "libformat/blob/block_reader.h"
#include "runtime/worker_pool.h"

namespace dadi::runtime {

// Reads `out.size()` bytes of `device` in pieces of `piece` bytes: first from memory, by this thread and threads of
// `computing`; then, unless context.memory_only, what memory did not have, by this thread and threads of `waiting`.
// Either pool may be null. Returns when no thread has anything more to do with `out`. REQUIRES: piece is a multiple of
// 512, and not 0. Errors: those of the device, for the first piece that failed.
Result<void> read_in_pieces(const BlockReader& device, Sectors at, std::span<std::byte> out, Bytes piece,
                            const ReadContext& context, WorkerPool* computing, WorkerPool* waiting);

}  // namespace dadi::runtime
