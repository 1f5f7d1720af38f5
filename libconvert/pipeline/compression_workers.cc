#include "libconvert/pipeline/compression_workers.h"

#include <algorithm>

namespace dadi::pipeline {

namespace {

constexpr std::size_t kBatchesPerWorker = 3;
constexpr std::size_t kMoreBatches = 4;  // being filled, being written, or left alone
// Batches that wait before one more wakes a worker: of blocks that are mostly zeros a batch takes less time than that.
constexpr std::size_t kWorthWaking = 1;

}  // namespace

Result<std::unique_ptr<CompressionWorkers>> CompressionWorkers::create(const zfile::Options& options,
                                                                       unsigned workers) {
  workers = std::max(workers, 1u);
  std::unique_ptr<CompressionWorkers> made(new CompressionWorkers(options, workers * kBatchesPerWorker + kMoreBatches));
  for (unsigned i = 0; i < workers; ++i) {
    DADI_TRY(zfile::BlockEncoder encoder, zfile::BlockEncoder::create(options));
    made->workers_.emplace_back([&workers = *made, own = std::move(encoder)](const std::stop_token& stop) mutable {
      workers.work(stop, std::move(own));
    });
  }
  return made;
}

CompressionWorkers::~CompressionWorkers() {
  for (std::jthread& worker : workers_) worker.request_stop();
  { const std::lock_guard lock(mutex_); }  // who has seen that it need not stop waits now
  work_to_do_.notify_all();
}

void CompressionWorkers::work(const std::stop_token& stop, zfile::BlockEncoder encoder) {
  std::unique_lock lock(mutex_);
  while (true) {
    work_to_do_.wait(lock, [&] { return !queue_.empty() || stop.stop_requested(); });
    if (stop.stop_requested()) return;
    BlockBatch& batch = *queue_.front();
    queue_.pop_front();
    lock.unlock();
    batch.status = encode(encoder, batch);
    lock.lock();
    batch.done = true;
    lock.unlock();
    work_done_.notify_all();
    lock.lock();
  }
}

Result<void> CompressionWorkers::encode(zfile::BlockEncoder& encoder, BlockBatch& batch) const {
  const std::span raw(batch.raw);
  for (std::size_t at = 0; at < raw.size(); at += options_.block_size) {
    const std::size_t before = batch.stored.size();
    DADI_CHECK(
        encoder.encode(raw.subspan(at, std::min<std::size_t>(options_.block_size, raw.size() - at)), batch.stored));
    batch.lengths.push_back(static_cast<std::uint32_t>(batch.stored.size() - before));
  }
  return {};
}

BlockBatch& CompressionWorkers::take() {
  std::unique_lock lock(mutex_);
  if (free_.empty() && batches_ > 0) {
    --batches_;
    all_.push_back(std::make_unique<BlockBatch>());
    all_.back()->raw.reserve(kBatchSize);
    return *all_.back();
  }
  batch_free_.wait(lock, [&] { return !free_.empty(); });
  BlockBatch& batch = *free_.back();
  free_.pop_back();
  return batch;
}

void CompressionWorkers::compress(BlockBatch& batch) {
  std::unique_lock lock(mutex_);
  queue_.push_back(&batch);
  const bool wake = queue_.size() > kWorthWaking;
  lock.unlock();
  if (wake) work_to_do_.notify_one();
}

void CompressionWorkers::wait(const BlockBatch& batch) {
  std::unique_lock lock(mutex_);
  if (!batch.done && !queue_.empty()) work_to_do_.notify_one();
  work_done_.wait(lock, [&] { return batch.done; });
}

void CompressionWorkers::give_back(BlockBatch& batch) {
  batch.raw.clear();
  batch.stored.clear();
  batch.lengths.clear();
  {
    const std::lock_guard lock(mutex_);
    batch.done = false;
    free_.push_back(&batch);
  }
  batch_free_.notify_one();
}

}  // namespace dadi::pipeline
