// Replaying a trace: what an earlier start read is fetched before this one asks for it.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <thread>
#include <vector>

#include "libformat/trace/trace.h"
#include "runtime/device/image_device.h"

namespace dadi::runtime {

// Stored bytes of a layer.
struct StoredPiece {
  std::size_t layer = 0;  // 0 is the bottom
  Bytes offset{};
  Bytes size{};

  friend bool operator==(const StoredPiece&, const StoredPiece&) = default;
};

// What to fetch for the reads of a trace, which may be anybody's: in the order of the trace, neighbours among what
// comes soon after one another as one, none longer than trace::kLongestRead and a block, `budget` in all. What no layer
// has is left out. Time and memory: n log n of the reads.
std::vector<StoredPiece> plan_replay(std::span<const trace::Read> reads, std::span<const StoredLayer> layers,
                                     Bytes budget);

// Fetches what a trace says, once that is here, several pieces at once, as prefetch: it is for blobs that keep what is
// read of them. What fails is left out; after several failures in a row all the rest is. Ends with this object.
// Thread-safe.
class Replay {
 public:
  struct Stats {
    Bytes planned{};
    Bytes fetched{};
    std::uint64_t failures = 0;
    PrefetchAccount::Sums use;  // of what was fetched; nothing if the device is not accounted for
  };

  // Waits for a trace, if there is one. Called once, by another thread; to end soon when told to stop.
  using Source = std::function<std::optional<std::vector<trace::Read>>(const std::stop_token& stop)>;

  Replay(std::shared_ptr<const ImageDevice> device, Source source, Bytes budget);

  // Whether the start that the trace is of may still be under way: until the trace has been replayed, and some time
  // more; no longer than until it is known that there is none.
  bool start_goes_on(std::chrono::steady_clock::time_point now) const { return now < start_ends_.load(); }

  // None: there is no trace, or none so far.
  std::optional<Stats> stats() const;

 private:
  void run(const std::stop_token& stop, const Source& source, Bytes budget);

  using Time = std::chrono::steady_clock::time_point;

  const std::shared_ptr<const ImageDevice> device_;
  std::atomic<Time> start_ends_ = Time::max();
  std::atomic<bool> found_ = false;  // there is a trace, and `planned_` is known
  std::atomic<std::uint64_t> planned_ = 0;
  std::atomic<std::uint64_t> fetched_ = 0;
  std::atomic<std::uint64_t> failures_ = 0;
  std::atomic<unsigned> in_a_row_ = 0;
  std::jthread thread_;  // last: ended before what it works on is gone
};

}  // namespace dadi::runtime
