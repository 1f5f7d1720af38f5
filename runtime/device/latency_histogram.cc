#include "runtime/device/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace dadi::runtime {

void LatencyHistogram::add(std::chrono::nanoseconds duration) {
  const auto ticks = static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0));
  const auto first = static_cast<std::uint64_t>(bound(0).count());
  const std::size_t bucket =
      std::min<std::size_t>(kBuckets - 1, static_cast<std::size_t>(std::bit_width(ticks / first)));
  counts_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(static_cast<std::int64_t>(ticks), std::memory_order_relaxed);
}

LatencyHistogram::Snapshot LatencyHistogram::snapshot() const {
  Snapshot snapshot;
  for (std::size_t i = 0; i < kBuckets; ++i) snapshot.counts[i] = counts_[i].load(std::memory_order_relaxed);
  snapshot.sum = std::chrono::nanoseconds(sum_.load(std::memory_order_relaxed));
  return snapshot;
}

std::uint64_t LatencyHistogram::Snapshot::count() const {
  return std::accumulate(counts.begin(), counts.end(), std::uint64_t{0});
}

std::chrono::nanoseconds LatencyHistogram::Snapshot::quantile(double part) const {
  const double wanted = std::ceil(part * static_cast<double>(count()));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += counts[i];
    if (seen > 0 && static_cast<double>(seen) >= wanted) return bound(i);
  }
  return {};
}

}  // namespace dadi::runtime
