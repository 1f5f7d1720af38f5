#include "libconvert/pipeline/block_compressor.h"

#include <algorithm>

namespace dadi::pipeline {

namespace {

// Batches that are left to the workers before the thread that writes looks at the first of them: it would only wait.
constexpr std::size_t kLeftAlone = 2;
// Batches that wait before that thread is woken, and takes several at once. Fewer than there are for one worker.
constexpr std::size_t kWakesWriter = 5;

}  // namespace

BlockCompressor::BlockCompressor(ByteSink& out, CompressionWorkers& workers)
    : workers_(workers), writer_(out, workers.options()), writing_([this] { write_batches(); }) {}

BlockCompressor::~BlockCompressor() {
  if (filling_ != nullptr) workers_.give_back(*filling_);
  {
    const std::lock_guard lock(mutex_);
    if (!ended_ && status_) status_ = Error::cancelled("not finished");
    ended_ = true;
  }
  changed_.notify_one();
}

Result<void> BlockCompressor::write(std::span<const std::byte> data) {
  constexpr std::size_t kSize = CompressionWorkers::kBatchSize;
  while (!data.empty()) {
    if (filling_ == nullptr) filling_ = &workers_.take();
    const auto part = data.first(std::min(data.size(), kSize - filling_->raw.size()));
    filling_->raw.insert(filling_->raw.end(), part.begin(), part.end());
    data = data.subspan(part.size());
    if (filling_->raw.size() < kSize) break;
    submit();
    DADI_CHECK(status());
  }
  return {};
}

void BlockCompressor::submit() {
  BlockBatch* const batch = std::exchange(filling_, nullptr);
  workers_.compress(*batch);
  std::unique_lock lock(mutex_);
  in_flight_.push_back(batch);
  const bool wake = in_flight_.size() >= kWakesWriter;
  lock.unlock();
  if (wake) changed_.notify_one();
}

Result<void> BlockCompressor::status() {
  const std::lock_guard lock(mutex_);
  return status_;
}

// After an error the batches are only given back.
void BlockCompressor::write_batches() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (in_flight_.size() <= kLeftAlone)
      changed_.wait(lock, [&] { return in_flight_.size() >= kWakesWriter || ended_; });
    if (in_flight_.empty()) return;
    BlockBatch& batch = *in_flight_.front();
    in_flight_.pop_front();
    const bool good = status_.has_value();
    lock.unlock();
    workers_.wait(batch);
    Result<void> written = good ? write_batch(batch) : Result<void>();
    workers_.give_back(batch);
    lock.lock();
    if (!written) status_ = std::move(written);
  }
}

Result<void> BlockCompressor::write_batch(const BlockBatch& batch) {
  DADI_CHECK(batch.status);
  return writer_.add(batch.stored, batch.lengths, Bytes{batch.raw.size()});
}

Result<zfile::Writer::Finished> BlockCompressor::finish() {
  if (filling_ != nullptr) submit();
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
  }
  changed_.notify_one();
  writing_.join();
  DADI_CHECK(std::move(status_));
  return writer_.finish();
}

}  // namespace dadi::pipeline
