#include "runtime/device/fetches.h"

#include <algorithm>

#include "runtime/device/read_limits.h"

namespace dadi::runtime {

Fetches::Fetch::Fetch(Fetches& fetches, Range range) : fetches_(fetches) {
  const std::lock_guard lock(fetches_.mutex_);
  range_ = fetches_.ranges_.insert(fetches_.ranges_.end(), range);
}

Fetches::Fetch::~Fetch() {
  {
    const std::lock_guard lock(fetches_.mutex_);
    fetches_.ranges_.erase(range_);
  }
  fetches_.ended_.notify_all();
}

bool Fetches::overlaps(Range range) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [&](Range other) { return other.first <= range.last && range.first <= other.last; });
}

Result<bool> Fetches::wait_for_others(Range range, const ReadContext& context) {
  std::unique_lock lock(mutex_);
  if (!overlaps(range)) return false;
  const auto free = [&] { return !overlaps(range); };
  const bool done = context.deadline == std::chrono::steady_clock::time_point::max()
                        ? ended_.wait(lock, context.stop, free)
                        : ended_.wait_until(lock, context.stop, context.deadline, free);
  if (!done) DADI_CHECK(still_wanted(context));
  return true;
}

}  // namespace dadi::runtime
