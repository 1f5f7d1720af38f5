// A compressed layer's bytes, with the device's cache in front.
#pragma once

#include <bitset>
#include <memory>

#include "libformat/zfile/reader.h"
#include "runtime/device/block_cache.h"
#include "runtime/device/fetches.h"

namespace dadi::runtime {

// Reads block by block: from the cache; else from the blob, if its memory has them; else, unless context.memory_only,
// by waiting. Blocks that lie next to each other are fetched with one read. While one thread waits for a block, others
// that want the block wait for that fetch. A failed read takes nothing with it: no block of it is kept that did not
// pass its checksum; the blob is asked once more for blocks that did not, past what caches have. Thread-safe.
class CachedLayer final : public BlobReader {
 public:
  // `layer` is its number in the cache, which must outlive this.
  CachedLayer(std::shared_ptr<const zfile::Reader> blocks, BlockCache& cache, std::size_t layer);

  Bytes size() const override { return blocks_->size(); }
  // Errors: those of zfile::Reader; unavailable and cancelled at the context's deadline and stop.
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context = {}) const override;

 private:
  static constexpr std::uint64_t kMostBlocks = 256;  // in a window

  // A part of a read: some bytes of consecutive blocks, and which of these are still to be filled in.
  struct Window {
    Bytes offset{};
    std::span<std::byte> out;
    std::uint64_t first = 0;  // block
    std::uint64_t blocks = 0;
    std::bitset<kMostBlocks> missing{};
  };
  // What a read wants of a block: `target` is to hold its bytes from `skip` on.
  struct Part {
    std::size_t skip = 0;
    std::span<std::byte> target;
  };

  Window window_at(Bytes offset, std::span<std::byte> out) const;
  Part part_of(const Window& window, std::uint64_t block) const;
  static Fetches::Range next_run(const Window& window, std::uint64_t most);

  Result<void> fill(Window& window, const ReadContext& context) const;
  void fill_from_cache(Window& window) const;
  Result<void> fill_from_memory(Window& window, const ReadContext& context) const;
  Result<void> fill_by_waiting(Window& window, const ReadContext& context) const;
  Result<void> fetch(Window& window, Fetches::Range run, const ReadContext& context, BlockCache::Worth worth) const;
  Result<void> decode(const Window& window, std::uint64_t block, std::span<const std::byte> stored,
                      BlockCache::Worth worth) const;

  std::shared_ptr<const zfile::Reader> blocks_;
  BlockCache& cache_;
  std::size_t layer_;
  std::uint64_t block_size_;
  std::uint64_t window_blocks_;  // the most in a window
  std::uint64_t memory_blocks_;  // the most that are copied from memory at once
  mutable Fetches fetches_;
};

}  // namespace dadi::runtime
