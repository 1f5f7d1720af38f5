// A ZFile from a stream of bytes: cut into blocks, compressed by several threads, put back in order and written by one
// more. The bytes do not depend on the number of threads.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>

#include "libconvert/pipeline/compression_workers.h"
#include "libformat/blob/byte_stream.h"
#include "libformat/zfile/writer.h"

namespace dadi::pipeline {

// write() and finish() from one thread at a time. Of several that share workers, all but one at a time must be about to
// finish: else each might wait for a batch that the others fill.
class BlockCompressor final : public ByteSink {
 public:
  // Everything behind the ZFile's header goes to `out`, from a thread of this one's own until finish(); `out` and
  // `workers` are borrowed.
  BlockCompressor(ByteSink& out, CompressionWorkers& workers);
  ~BlockCompressor() override;

  // Errors: those of the codec and of `out`; they may come late.
  Result<void> write(std::span<const std::byte> data) override;

  // Call at most once, last.
  Result<zfile::Writer::Finished> finish();

 private:
  void submit();
  void write_batches();
  Result<void> write_batch(const BlockBatch& batch);
  Result<void> status();

  CompressionWorkers& workers_;
  zfile::Writer writer_;
  BlockBatch* filling_ = nullptr;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<BlockBatch*> in_flight_;  // in order
  bool ended_ = false;                 // no more will come
  Result<void> status_;

  std::jthread writing_;  // last: it uses all of the above
};

}  // namespace dadi::pipeline
