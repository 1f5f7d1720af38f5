// The threads that compress blocks, for all layers of a conversion.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "libformat/zfile/codec.h"

namespace dadi::pipeline {

// Some consecutive blocks: what a worker takes at a time. Owned by the workers.
struct BlockBatch {
  std::vector<std::byte> raw;          // to be filled: whole blocks, but for the last one
  std::vector<std::byte> stored;       // of all blocks
  std::vector<std::uint32_t> lengths;  // of each block, in `stored`
  Result<void> status;
  bool done = false;  // guarded by the workers' mutex
};

// Thread-safe. Memory: about 2 MiB a worker.
class CompressionWorkers {
 public:
  static constexpr std::size_t kBatchSize = std::size_t{1} << 18;  // a multiple of every block size

  // Errors: invalid_argument (see zfile::check_options).
  static Result<std::unique_ptr<CompressionWorkers>> create(const zfile::Options& options, unsigned workers);
  ~CompressionWorkers();

  const zfile::Options& options() const { return options_; }

  // An empty batch, to be given back. Waits until there is one: somebody else must be on the way to giving one back.
  BlockBatch& take();
  // Has a batch compressed.
  void compress(BlockBatch& batch);
  // Waits until that is done.
  void wait(const BlockBatch& batch);
  void give_back(BlockBatch& batch);

 private:
  CompressionWorkers(const zfile::Options& options, std::size_t batches) : options_(options), batches_(batches) {}
  void work(const std::stop_token& stop, zfile::BlockEncoder encoder);
  Result<void> encode(zfile::BlockEncoder& encoder, BlockBatch& batch) const;

  zfile::Options options_;
  std::mutex mutex_;
  std::condition_variable work_to_do_;
  std::condition_variable work_done_;
  std::condition_variable batch_free_;
  std::size_t batches_;                           // that may still be made
  std::vector<std::unique_ptr<BlockBatch>> all_;  // that were made
  std::vector<BlockBatch*> free_;
  std::deque<BlockBatch*> queue_;      // to be compressed
  std::vector<std::jthread> workers_;  // last: they use all of the above
};

}  // namespace dadi::pipeline
