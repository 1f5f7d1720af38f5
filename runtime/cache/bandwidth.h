// No more bytes a second than somebody allows.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>

#include "libformat/blob/blob_reader.h"

namespace dadi::cache {

// A rate that blobs share. Thread-safe.
class Bandwidth {
 public:
  explicit Bandwidth(Bytes per_second) : per_second_(per_second) {}

  // Waits until `bytes` more may be read; as many as a fifth of a second's may come early. Errors: cancelled,
  // unavailable (the context's deadline).
  Result<void> wait_for(Bytes bytes, const ReadContext& context);

 private:
  const Bytes per_second_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point free_from_{};  // guarded by mutex_: when all that was allowed is paid for
};

// A blob whose reads wait for their turn first. Thread-safe.
class LimitedBlob final : public BlobReader {
 public:
  LimitedBlob(SharedBlob blob, std::shared_ptr<Bandwidth> bandwidth)
      : blob_(std::move(blob)), bandwidth_(std::move(bandwidth)) {}

  Bytes size() const override { return blob_->size(); }
  // Errors: those of the blob and of Bandwidth.
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const override;

 private:
  SharedBlob blob_;
  std::shared_ptr<Bandwidth> bandwidth_;
};

// Waits until then. Errors: cancelled and unavailable, at the context's stop and deadline.
Result<void> sleep_until(std::chrono::steady_clock::time_point time, const ReadContext& context);

}  // namespace dadi::cache
