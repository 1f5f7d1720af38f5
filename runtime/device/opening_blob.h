// A layer that is far away, while it is opened.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>

#include "libformat/blob/blob_reader.h"
#include "runtime/worker_pool.h"

namespace dadi::runtime {

// What opening reads of a layer's blob is at its two ends: headers in front; index, jump table and trailers behind.
// Both are fetched at once, before anybody asks, so that a layer takes one round trip, and many layers no more. How
// much that is, is guessed from the blob's size; where the guess was short, what is read grows in large steps. Once
// opened, its reads go to the blob itself. Thread-safe.
class OpeningBlob final : public BlobReader {
 public:
  // Begins to fetch, with threads of `pool`; until finish() or the end of this, or context.stop.
  static std::shared_ptr<const OpeningBlob> start(SharedBlob blob, WorkerPool& pool, const ReadContext& context);
  ~OpeningBlob() override;

  Bytes size() const override { return blob_->size(); }
  // Errors: those of the blob; of what was fetched ahead, too. With context.anew the ends are fetched again.
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const override;

  // The layer is open: what was fetched is let go, and what is on its way given up.
  void finish() const;

  // What of a blob is fetched ahead, from its start and from its end.
  static Bytes head_size(Bytes blob);
  static Bytes tail_size(Bytes blob);

 private:
  struct End;

  OpeningBlob(SharedBlob blob, WorkerPool& pool, const ReadContext& context);

  void fetch_ends(bool anew) const;
  std::shared_ptr<End> fetch(Bytes offset, Bytes size, bool anew) const;
  Result<void> grow_head(Bytes end, const ReadContext& context) const;
  Result<void> grow_tail(Bytes start, const ReadContext& context) const;

  const SharedBlob blob_;
  WorkerPool& pool_;
  mutable std::stop_source stop_;  // of the fetches
  const std::stop_callback<std::function<void()>> forward_;
  mutable std::atomic<bool> finished_ = false;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<End> head_, tail_;  // this and the rest guarded by mutex_; null: finished
  mutable bool anew_ = false;
};

}  // namespace dadi::runtime
