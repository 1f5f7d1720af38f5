// A blob that is far away, and misbehaves on demand.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

#include "libformat/blob/blob_reader.h"

namespace dadi::test {

// Bytes that are never in memory: reads wait, for as long as the blob is stalled. What lies in front of where it is
// stalled arrives. Thread-safe.
class FaultyBlob final : public BlobReader {
 public:
  explicit FaultyBlob(std::vector<std::byte> data) : size_{data.size()}, data_(std::move(data)) {}

  Bytes size() const override { return size_; }

  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const override {
    if (context.memory_only) return Error::would_block("not in memory");
    std::unique_lock lock(mutex_);
    ++reads_;
    ++waiting_;
    changed_.notify_all();
    std::size_t front = 0;  // what has arrived is changed no more
    if (stalled_ && offset < stalled_from_ && context.progress != nullptr) {
      front = std::min<std::size_t>(out.size(), (stalled_from_ - offset).value);
      std::copy_n(data_.begin() + static_cast<std::ptrdiff_t>(offset.value), front, out.begin());
      context.progress->arrived(front);
    }
    const auto answers = [&] { return !stalled_ || offset + Bytes{out.size()} <= stalled_from_; };
    const bool answered = context.deadline == std::chrono::steady_clock::time_point::max()
                              ? changed_.wait(lock, context.stop, answers)
                              : changed_.wait_until(lock, context.stop, context.deadline, answers);
    --waiting_;
    changed_.notify_all();
    if (!answered && context.stop.stop_requested()) return Error::cancelled("the blob was told to stop");
    if (!answered) return Error::unavailable("the blob does not answer");
    if (offset.value + out.size() > data_.size()) return Error::io("the blob was cut short");
    std::ranges::copy(std::span(data_).subspan(offset.value + front, out.size() - front), out.begin() + front);
    return {};
  }

  // Reads that reach to `from` or further wait.
  void stall(bool stalled, Bytes from = {}) {
    const std::lock_guard lock(mutex_);
    stalled_ = stalled;
    stalled_from_ = from;
    changed_.notify_all();
  }
  // Other bytes from now on, without a word to whoever has the blob open; fewer too.
  void replace(std::vector<std::byte> data) {
    const std::lock_guard lock(mutex_);
    data_ = std::move(data);
  }
  void await_readers(int count) const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ >= count; });
  }
  void await_no_readers() const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ == 0; });
  }
  // Reads that were not for memory only, so far.
  int reads() const {
    const std::lock_guard lock(mutex_);
    return reads_;
  }

 private:
  const Bytes size_;
  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  std::vector<std::byte> data_;  // the rest guarded by mutex_
  bool stalled_ = false;
  Bytes stalled_from_;
  mutable int reads_ = 0;
  mutable int waiting_ = 0;
};

}  // namespace dadi::test
