#include "runtime/device/piecewise_read.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>
#include <vector>

#include "runtime/parallel.h"

namespace dadi::runtime {

namespace {

// What is fetched by waiting is this many pieces at a time: fewer, larger requests to whoever keeps the blob.
constexpr std::size_t kPiecesFetched = 4;
constexpr std::size_t kMostFetches = 16;  // of one read, at once

class PiecewiseRead {
 public:
  PiecewiseRead(const BlockReader& device, Sectors at, std::span<std::byte> out, Bytes piece)
      : device_(device), at_(at), out_(out), piece_(piece.value), results_(divide_up(out.size(), piece_)) {}

  // Reads every piece from memory; gives up at the first failure of another kind than would_block, and, if `all` must
  // come from memory, at the first of any kind.
  void from_memory(ReadContext context, bool all, WorkerPool* pool) {
    context.memory_only = true;
    std::atomic<bool> failed = false;
    run(pool, std::max(1U, std::thread::hardware_concurrency()) - 1, results_.size(), [&](std::size_t i) {
      if (failed) return;
      results_[i] = read(i, 1, context);
      if (!*results_[i] && (all || !would_block(i))) failed = true;
    });
  }

  // Reads the pieces that would block, by waiting.
  void by_waiting(const ReadContext& context, WorkerPool* pool) {
    struct Run {
      std::size_t first;
      std::size_t count;
    };
    std::vector<Run> runs;
    for (std::size_t i = 0; i < results_.size(); ++i) {
      if (!would_block(i)) continue;
      if (runs.empty() || runs.back().first + runs.back().count != i || runs.back().count == kPiecesFetched)
        runs.push_back({i, 0});
      ++runs.back().count;
    }
    run(pool, kMostFetches - 1, runs.size(),
        [&](std::size_t i) { results_[runs[i].first] = read(runs[i].first, runs[i].count, context); });
    // A run's result stands for all of its pieces.
    for (const Run& run : runs)
      for (std::size_t i = 1; i < run.count; ++i) results_[run.first + i] = Result<void>();
  }

  // The first failure. Pieces that were given up come behind it, or another thread's failure made them so.
  Result<void> result() const {
    const auto failure =
        std::find_if(results_.begin(), results_.end(), [](const auto& result) { return result && !*result; });
    return failure == results_.end() ? Result<void>() : **failure;
  }

 private:
  static void run(WorkerPool* pool, std::size_t helpers, std::size_t count,
                  const std::function<void(std::size_t)>& work) {
    if (pool != nullptr) return for_each_in_parallel(*pool, helpers, count, work);
    for (std::size_t i = 0; i < count; ++i) work(i);
  }

  bool would_block(std::size_t i) const {
    return results_[i] && !*results_[i] && results_[i]->error().code() == ErrorCode::kWouldBlock;
  }

  Result<void> read(std::size_t first, std::size_t count, const ReadContext& context) const {
    const std::size_t begin = first * piece_;
    const auto part = out_.subspan(begin, std::min(count * piece_, out_.size() - begin));
    return device_.read_at(at_ + whole_sectors(Bytes{begin}), part, context);
  }

  const BlockReader& device_;
  const Sectors at_;
  const std::span<std::byte> out_;
  const std::size_t piece_;
  std::vector<std::optional<Result<void>>> results_;  // of each piece; none yet
};

}  // namespace

Result<void> read_in_pieces(const BlockReader& device, Sectors at, std::span<std::byte> out, Bytes piece,
                            const ReadContext& context, WorkerPool* computing, WorkerPool* waiting) {
  PiecewiseRead read(device, at, out, piece);
  read.from_memory(context, context.memory_only, computing);
  auto result = read.result();
  if (result || context.memory_only || result.error().code() != ErrorCode::kWouldBlock) return result;
  read.by_waiting(context, waiting);
  return read.result();
}

}  // namespace dadi::runtime
