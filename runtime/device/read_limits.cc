#include "runtime/device/read_limits.h"

namespace dadi::runtime {

Result<void> still_wanted(const ReadContext& context) {
  using Clock = std::chrono::steady_clock;
  if (context.stop.stop_requested()) return Error::cancelled("stopped");
  if (context.deadline != Clock::time_point::max() && Clock::now() >= context.deadline)
    return Error::unavailable("no answer within the time allowed");
  return {};
}

}  // namespace dadi::runtime
