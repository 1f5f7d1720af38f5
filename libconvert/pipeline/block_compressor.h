// A ZFile from a stream of bytes: cut into blocks, compressed by several threads, put back in order. The bytes do not
// depend on the number of threads.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "libformat/blob/byte_stream.h"
#include "libformat/zfile/codec.h"
#include "libformat/zfile/writer.h"

namespace dadi::pipeline {

// write() and finish() from one thread at a time. Memory: about 1 MiB a worker.
class BlockCompressor final : public ByteSink {
 public:
  // Everything behind the ZFile's header goes to `out`, which is borrowed.
  // Errors: invalid_argument (see zfile::check_options).
  static Result<std::unique_ptr<BlockCompressor>> create(ByteSink& out, const zfile::Options& options,
                                                         unsigned workers);
  ~BlockCompressor() override;

  // Errors: those of the codec and of `out`; they may come late.
  Result<void> write(std::span<const std::byte> data) override;

  // Call at most once, last.
  Result<zfile::Writer::Finished> finish();

 private:
  // Some consecutive blocks: what a worker takes at a time.
  struct Batch {
    std::vector<std::byte> raw;
    std::vector<std::byte> stored;
    std::vector<std::size_t> ends;  // of each block, in `stored`
    std::optional<Result<void>> done;
  };

  BlockCompressor(ByteSink& out, const zfile::Options& options);
  void start(std::vector<zfile::BlockEncoder> encoders);
  void work(const std::stop_token& stop, zfile::BlockEncoder encoder);
  Result<void> compress(zfile::BlockEncoder& encoder, Batch& batch) const;
  void submit();
  Result<void> collect(std::size_t most_in_flight);
  Result<void> emit(const Batch& batch);

  zfile::Options options_;
  zfile::Writer writer_;
  std::unique_ptr<Batch> filling_;
  std::deque<std::unique_ptr<Batch>> in_flight_;  // in order; the front is written next
  std::vector<std::unique_ptr<Batch>> spare_;

  std::mutex mutex_;
  std::condition_variable work_to_do_;
  std::condition_variable work_done_;
  std::deque<Batch*> queue_;  // in_flight_ that no worker has taken

  std::vector<std::jthread> workers_;  // last: they use all of the above
};

}  // namespace dadi::pipeline
