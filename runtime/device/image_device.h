// A stack of layers as a block device for many clients: opened in parallel, cached, counted.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "libformat/blob/block_reader.h"
#include "libformat/lsmt/stack_reader.h"
#include "runtime/device/latency_histogram.h"
#include "runtime/device/layer_opening.h"

namespace dadi::runtime {

struct DeviceOptions {
  // Told of every read that failed, the layer and the block named. Called by the thread that reads, so it must be
  // quick, and by several at once. Not told of would_block, and of what a caller stopped.
  std::function<void(const Error&)> on_error;
};

// What a device did since it was opened.
struct DeviceStats {
  std::uint64_t reads = 0;  // that succeeded
  Bytes bytes{};            // that they gave
  std::uint64_t errors = 0;
  std::uint64_t corruptions = 0;       // of the errors, those about damaged content: a checksum, a blob cut short
  LatencyHistogram::Snapshot latency;  // of the reads that succeeded
};

// Thread-safe: any number of threads may read at once.
class ImageDevice final : public BlockReader {
 public:
  // Opens `layers`, bottom first, at once in several threads, and merges their indexes. The first failure ends the
  // others' work, as context.stop does; a deadline is passed on to the blobs.
  // Errors: those of open_layer_file() and of StackReader::open(), the layer named.
  static Result<std::unique_ptr<ImageDevice>> open(std::vector<DeviceLayer> layers, DeviceOptions options,
                                                   const ReadContext& context);

  Sectors size() const override { return stack_->size(); }

  // With context.memory_only, what memory cannot answer fails at once with would_block.
  // Errors: those of StackReader, with the layer's name; unavailable after the deadline, cancelled after a stop. An
  // error is of the range that was asked for: what can be read elsewhere stays so.
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context = {}) const override;

  // From the index alone: never waits. Errors: io past the end.
  Result<Extent> next_extent(Sectors at) const override { return stack_->next_extent(at); }

  DeviceStats stats() const;

 private:
  ImageDevice(std::unique_ptr<lsmt::StackReader> stack, DeviceOptions options);

  void count_error(const Error& error) const;

  std::unique_ptr<lsmt::StackReader> stack_;
  DeviceOptions options_;
  mutable LatencyHistogram latency_;
  mutable std::atomic<std::uint64_t> bytes_ = 0;
  mutable std::atomic<std::uint64_t> errors_ = 0;
  mutable std::atomic<std::uint64_t> corruptions_ = 0;
};

}  // namespace dadi::runtime
