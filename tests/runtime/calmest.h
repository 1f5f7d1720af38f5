// Times of many reads, on a machine that does other things too.
#pragma once

#include <algorithm>
#include <chrono>
#include <span>

namespace dadi::test {

// What reads that wait for nobody take at most. Sanitizers make each several times as slow; that nobody waits is seen
// there too, as all the reads end while another is stuck.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr std::chrono::milliseconds kSoon{100};
#else
inline constexpr std::chrono::milliseconds kSoon{10};
#endif

// The 99th percentile of the calmest fifth of the times, in the order in which they were taken. Reads that wait for a
// stalled one wait in each fifth; what other programs do to them, not.
inline std::chrono::steady_clock::duration calmest_p99(std::span<std::chrono::steady_clock::duration> times) {
  constexpr std::size_t kRounds = 5;
  auto least = std::chrono::steady_clock::duration::max();
  const std::size_t size = times.size() / kRounds;
  for (std::size_t i = 0; i < kRounds; ++i) {
    const auto round = times.subspan(i * size, size);
    std::ranges::sort(round);
    least = std::min(least, round[size * 99 / 100]);
  }
  return least;
}

}  // namespace dadi::test
