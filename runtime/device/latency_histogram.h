// How long things took, in counters that many threads add to.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace dadi::runtime {

// Counts durations in buckets whose bounds double: 512 bytes of memory, whatever the number of durations. Thread-safe.
class LatencyHistogram {
 public:
  // Bucket N holds durations below bound(N) and not below bound(N - 1); the last one all that are longer.
  static constexpr std::size_t kBuckets = 32;
  static constexpr std::chrono::nanoseconds bound(std::size_t bucket) {
    return std::chrono::nanoseconds(std::uint64_t{256} << bucket);  // 256 ns, 512 ns … 9 minutes
  }

  struct Snapshot {
    std::array<std::uint64_t, kBuckets> counts{};
    std::chrono::nanoseconds sum{};

    std::uint64_t count() const;
    // The bound of the bucket in which this part (0 to 1) of the durations ends: at most twice too much. 0 of none.
    std::chrono::nanoseconds quantile(double part) const;
  };

  void add(std::chrono::nanoseconds duration);
  // Durations that are added meanwhile may be in it or not.
  Snapshot snapshot() const;

 private:
  std::array<std::atomic<std::uint64_t>, kBuckets> counts_{};
  std::atomic<std::int64_t> sum_ = 0;  // nanoseconds
};

}  // namespace dadi::runtime
