// A stack of layers as a block device for many clients: opened in parallel, cached, counted.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "libformat/blob/block_reader.h"
#include "libformat/lsmt/stack_reader.h"
#include "runtime/device/block_cache.h"
#include "runtime/device/latency_histogram.h"
#include "runtime/device/layer_opening.h"
#include "runtime/device/prefetch_account.h"
#include "runtime/device/recorder.h"
#include "runtime/worker_pool.h"

namespace dadi::runtime {

struct DeviceOptions {
  Bytes memory{32U << 20};  // for decompressed blocks, bookkeeping included; 0: none are kept
  // Threads that take part in large reads, those that compute and those that may wait; without, the caller does all by
  // itself. They must outlive the device.
  WorkerPool* computing = nullptr;
  WorkerPool* waiting = nullptr;
  // Told of every read that failed, the layer and the block named. Called by the thread that reads, so it must be
  // quick, and by several at once. Not told of would_block, nor of what a caller stopped.
  std::function<void(const Error&)> on_error;
  std::shared_ptr<Recorder> recorder;  // hears what is read of the layers; null: nobody does
  bool accounted = false;              // of each layer there is an account of what is prefetched, for Replay
};

// A layer as it is stored.
struct StoredLayer {
  std::shared_ptr<const zfile::Reader> blocks;  // null: it is not compressed
  SharedBlob plain;                             // then this is the layer
  std::shared_ptr<PrefetchAccount> account;     // of what is prefetched of it; null: nobody keeps one
};

// What a device did since it was opened.
struct DeviceStats {
  std::uint64_t reads = 0;      // that succeeded
  Bytes bytes{};                // that they gave
  std::uint64_t under_way = 0;  // reads, now
  std::uint64_t errors = 0;
  std::uint64_t corruptions = 0;       // of the errors, those about damaged content: a checksum, a blob cut short
  LatencyHistogram::Snapshot latency;  // of the reads that succeeded
  BlockCache::Stats cache;
};

// Memory, besides the cache: a merged index of 17 bytes a segment (18 from 1 TiB on), 4.1 bytes a compressed block, and
// some 2 KB a layer and 15 KB a device. Thread-safe: any number of threads may read at once.
class ImageDevice final : public BlockReader {
 public:
  // Opens `layers`, bottom first, at once in several threads, and merges their indexes. The first failure ends the
  // others' work, as context.stop does; a deadline is passed on to the blobs.
  // Errors: those of open_layer_file() and of StackReader::open(), the layer named; exhausted (no address space).
  static Result<std::unique_ptr<ImageDevice>> open(std::vector<DeviceLayer> layers, DeviceOptions options,
                                                   const ReadContext& context);

  Sectors size() const override { return stack_->size(); }

  // With context.memory_only, what memory cannot answer fails at once with would_block. Reads of more than a piece are
  // done by several threads; those that compute do not wait.
  // Errors: those of StackReader, with the layer's name; unavailable after the deadline, cancelled after a stop. An
  // error is of the range that was asked for: what can be read elsewhere stays so.
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context = {}) const override;

  // From the index alone: never waits. Errors: io past the end.
  Result<Extent> next_extent(Sectors at) const override { return stack_->next_extent(at); }

  // Bottom first, as a trace counts them.
  std::span<const StoredLayer> stored_layers() const { return stored_; }
  // What the topmost layer says of itself: a writable layer on top names it as its parent.
  const lsmt::LayerInfo& top() const { return top_; }

  DeviceStats stats() const;

  // Gives the cache's memory back when nothing was read for a while. For the owner to call, every few seconds; by one
  // thread at a time.
  void trim(std::chrono::steady_clock::time_point now) { cache_->trim(now); }

 private:
  ImageDevice(DeviceOptions options, Bytes piece, std::unique_ptr<BlockCache> cache,
              std::unique_ptr<lsmt::StackReader> stack, std::vector<StoredLayer> stored, lsmt::LayerInfo top);

  Result<void> read(Sectors at, std::span<std::byte> out, const ReadContext& context) const;
  Result<bool> is_large(Sectors at, Sectors length) const;
  void count_error(const Error& error) const;

  const DeviceOptions options_;
  const Bytes piece_;  // how much one thread reads, when several do
  const std::unique_ptr<BlockCache> cache_;
  const std::unique_ptr<lsmt::StackReader> stack_;  // its blobs read through the cache
  const std::vector<StoredLayer> stored_;
  const lsmt::LayerInfo top_;
  mutable LatencyHistogram latency_;
  mutable std::atomic<std::uint64_t> bytes_ = 0;
  mutable std::atomic<std::uint64_t> under_way_ = 0;
  mutable std::atomic<std::uint64_t> errors_ = 0;
  mutable std::atomic<std::uint64_t> corruptions_ = 0;
};

}  // namespace dadi::runtime
