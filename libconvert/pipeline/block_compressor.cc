#include "libconvert/pipeline/block_compressor.h"

#include <algorithm>
#include <limits>

namespace dadi::pipeline {

namespace {

constexpr std::size_t kBatchSize = std::size_t{1} << 18;  // a multiple of every block size
constexpr std::size_t kBatchesPerWorker = 3;

}  // namespace

BlockCompressor::BlockCompressor(ByteSink& out, const zfile::Options& options)
    : options_(options), writer_(out, options), filling_(std::make_unique<Batch>()) {
  filling_->raw.reserve(kBatchSize);
}

BlockCompressor::~BlockCompressor() {
  for (std::jthread& worker : workers_) worker.request_stop();
  work_to_do_.notify_all();
}

Result<std::unique_ptr<BlockCompressor>> BlockCompressor::create(ByteSink& out, const zfile::Options& options,
                                                                 unsigned workers) {
  std::vector<zfile::BlockEncoder> encoders;
  for (unsigned i = 0; i < std::max(workers, 1u); ++i) {
    DADI_TRY(zfile::BlockEncoder encoder, zfile::BlockEncoder::create(options));
    encoders.push_back(std::move(encoder));
  }
  std::unique_ptr<BlockCompressor> compressor(new BlockCompressor(out, options));
  compressor->start(std::move(encoders));
  return compressor;
}

void BlockCompressor::start(std::vector<zfile::BlockEncoder> encoders) {
  for (zfile::BlockEncoder& encoder : encoders)
    workers_.emplace_back(
        [this, own = std::move(encoder)](const std::stop_token& stop) mutable { work(stop, std::move(own)); });
}

void BlockCompressor::work(const std::stop_token& stop, zfile::BlockEncoder encoder) {
  std::unique_lock lock(mutex_);
  while (true) {
    work_to_do_.wait(lock, [&] { return !queue_.empty() || stop.stop_requested(); });
    if (stop.stop_requested()) return;
    Batch* batch = queue_.front();
    queue_.pop_front();
    lock.unlock();
    Result<void> result = compress(encoder, *batch);
    lock.lock();
    batch->done.emplace(std::move(result));
    work_done_.notify_one();
  }
}

Result<void> BlockCompressor::compress(zfile::BlockEncoder& encoder, Batch& batch) const {
  for (std::size_t at = 0; at < batch.raw.size(); at += options_.block_size) {
    const std::size_t size = std::min<std::size_t>(options_.block_size, batch.raw.size() - at);
    DADI_CHECK(encoder.encode(std::span(batch.raw).subspan(at, size), batch.stored));
    batch.ends.push_back(batch.stored.size());
  }
  return {};
}

Result<void> BlockCompressor::write(std::span<const std::byte> data) {
  while (!data.empty()) {
    const auto part = data.first(std::min(data.size(), kBatchSize - filling_->raw.size()));
    filling_->raw.insert(filling_->raw.end(), part.begin(), part.end());
    data = data.subspan(part.size());
    if (filling_->raw.size() < kBatchSize) break;
    submit();
    DADI_CHECK(collect(workers_.size() * kBatchesPerWorker));
  }
  return {};
}

void BlockCompressor::submit() {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(filling_.get());
  }
  work_to_do_.notify_one();
  in_flight_.push_back(std::move(filling_));
  if (spare_.empty()) {
    filling_ = std::make_unique<Batch>();
    filling_->raw.reserve(kBatchSize);
  } else {
    filling_ = std::move(spare_.back());
    spare_.pop_back();
  }
}

// Writes finished batches, in order, until at most so many are left.
Result<void> BlockCompressor::collect(std::size_t most_in_flight) {
  while (!in_flight_.empty()) {
    Batch& front = *in_flight_.front();
    {
      std::unique_lock lock(mutex_);
      if (!front.done && in_flight_.size() <= most_in_flight) return {};
      work_done_.wait(lock, [&] { return front.done.has_value(); });
    }
    DADI_CHECK(std::move(*front.done));
    DADI_CHECK(emit(front));
    front.raw.clear();
    front.stored.clear();
    front.ends.clear();
    front.done.reset();
    spare_.push_back(std::move(in_flight_.front()));
    in_flight_.pop_front();
  }
  return {};
}

Result<void> BlockCompressor::emit(const Batch& batch) {
  std::size_t start = 0;
  for (std::size_t i = 0; i < batch.ends.size(); ++i) {
    const std::size_t raw_size = std::min<std::size_t>(options_.block_size, batch.raw.size() - i * options_.block_size);
    DADI_CHECK(writer_.add(std::span(batch.stored).subspan(start, batch.ends[i] - start), raw_size));
    start = batch.ends[i];
  }
  return {};
}

Result<zfile::Writer::Finished> BlockCompressor::finish() {
  if (!filling_->raw.empty()) submit();
  DADI_CHECK(collect(0));
  return writer_.finish();
}

}  // namespace dadi::pipeline
