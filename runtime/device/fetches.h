// Which parts of a blob are being fetched, so that no two threads wait for the same bytes twice.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>

#include "libformat/blob/blob_reader.h"

namespace dadi::runtime {

// Ranges of blocks that some thread fetches. Thread-safe.
class Fetches {
 public:
  struct Range {
    std::uint64_t first = 0;
    std::uint64_t last = 0;  // it too
  };

  // A range is being fetched for as long as its Fetch lives.
  class Fetch {
   public:
    ~Fetch();
    Fetch(const Fetch&) = delete;
    Fetch& operator=(const Fetch&) = delete;

   private:
    friend class Fetches;
    Fetch(Fetches& fetches, Range range);

    Fetches& fetches_;
    std::list<Range>::iterator range_;
  };

  // Waits for the others that fetch some of `range` now, at most until context's deadline or stop. Returns whether
  // there were any: then their blocks may be in the cache now, or they failed. Errors: unavailable (the deadline),
  // cancelled.
  Result<bool> wait_for_others(Range range, const ReadContext& context);

  Fetch begin(Range range) { return {*this, range}; }

 private:
  bool overlaps(Range range) const;

  std::mutex mutex_;
  std::condition_variable_any ended_;
  std::list<Range> ranges_;  // guarded by mutex_; few: no more than threads that wait
};

}  // namespace dadi::runtime
