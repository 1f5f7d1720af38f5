// Decompressed blocks of all layers of a device, within a fixed budget of memory.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi::runtime {

// What is kept is decided as in S3-FIFO (Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023): a
// new block enters a small queue and leaves from there unless it was read again, so that a scan of the device does not
// wash out what is read often. Of blocks that went, their names stay for a while.
//
// Memory: every block has a slot of the same size; 32 bytes more a slot. Slots are mapped at once and become resident
// when used. In shards with a lock each, held for the copy of a block at most. Thread-safe.
class BlockCache {
 public:
  struct Key {
    std::size_t layer = 0;    // < 256
    std::uint64_t block = 0;  // < 2^56
  };

  // `budget` is for everything; less than a few blocks is no cache, which is fine. `block_size`: of the largest block.
  // Errors: exhausted (no room for the budget in the address space).
  static Result<std::unique_ptr<BlockCache>> create(Bytes budget, std::size_t block_size);
  ~BlockCache();
  BlockCache(const BlockCache&) = delete;
  BlockCache& operator=(const BlockCache&) = delete;

  // Fills `out` from `offset` of a block on, if the block is there. REQUIRES: within the block.
  bool read(Key key, std::size_t offset, std::span<std::byte> out);

  // What keeping a block saves.
  enum class Worth {
    kDecoding,  // its stored bytes came from memory: it is taken in when it is offered again within a while
    kWaiting,   // a wait, or a second decompression of a block that was read in part: it is taken in at once
  };
  // Offers a whole block that had to be decompressed.
  void offer(Key key, std::span<const std::byte> block, Worth worth);

  // Gives all memory for blocks back, when nothing was read for a while. For the owner to call, every few seconds; by
  // one thread at a time.
  void trim(std::chrono::steady_clock::time_point now);

  struct Stats {
    std::uint64_t hits = 0;    // blocks that read() gave
    std::uint64_t misses = 0;  // blocks that were decompressed
    Bytes memory{};            // in use, bookkeeping included
  };
  Stats stats() const;

 private:
  class Shard;
  struct Place {
    Shard& shard;
    std::uint64_t hash;
  };

  BlockCache(std::byte* slots, Bytes mapped, std::size_t block_size, std::size_t capacity);
  Place place(std::uint64_t name);

  std::byte* const slots_;  // mapped; null if there are none
  const Bytes mapped_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::chrono::steady_clock::time_point last_use_{};  // as far as trim() knows
};

}  // namespace dadi::runtime
