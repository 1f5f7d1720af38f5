#include "runtime/cache/bandwidth.h"

#include <algorithm>
#include <condition_variable>

#include "runtime/device/read_limits.h"

namespace dadi::cache {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kEarly{200};

}  // namespace

Result<void> sleep_until(Clock::time_point time, const ReadContext& context) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_until(lock, context.stop, std::min(time, context.deadline), [] { return false; });
  return runtime::still_wanted(context);
}

Result<void> Bandwidth::wait_for(Bytes bytes, const ReadContext& context) {
  const auto cost = std::chrono::nanoseconds(
      static_cast<std::int64_t>(static_cast<double>(bytes.value) * 1e9 / static_cast<double>(per_second_.value)));
  Clock::time_point turn;
  {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    turn = std::max(free_from_, now - kEarly);
    free_from_ = turn + cost;
    if (turn <= now) return {};
  }
  return sleep_until(turn, context);
}

Result<void> LimitedBlob::read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const {
  if (!context.memory_only) DADI_CHECK(bandwidth_->wait_for({out.size()}, context));
  return blob_->read_at(offset, out, context);
}

}  // namespace dadi::cache
