// Background download: the whole of a blob, before anybody asks for it.
#include <algorithm>
#include <condition_variable>

#include "runtime/cache/cached_blob.h"
#include "runtime/device/read_limits.h"

namespace dadi::cache {

namespace {

using Clock = std::chrono::steady_clock;

Result<void> sleep_until(Clock::time_point time, const ReadContext& context) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait_until(lock, context.stop, std::min(time, context.deadline), [] { return false; });
  return runtime::still_wanted(context);
}

}  // namespace

Result<void> CachedBlob::download(const DownloadOptions& options, const ReadContext& context) const {
  if (!store_) return Error::exhausted("there is no cache to download to");
  if (store_->whole()) return {};
  DADI_CHECK(sleep_until(Clock::now() + options.delay, context));
  ReadContext prefetch = context;
  prefetch.read_class = ReadClass::kPrefetch;
  prefetch.memory_only = false;
  const Geometry& geometry = store_->geometry();
  const std::uint64_t most = std::max<std::uint64_t>(1, cache_->options().joined.value / geometry.chunk());
  std::vector<std::byte> buffer(std::min(most * geometry.chunk(), size_.value));
  auto next = Clock::now();
  for (std::uint64_t i = 0; i < geometry.chunks();) {
    if (store_->has(i)) {
      ++i;
      continue;
    }
    std::uint64_t size = 0;
    const Bytes at{i * geometry.chunk()};
    for (std::uint64_t count = 0; count < most && i < geometry.chunks() && !store_->has(i); ++count, ++i)
      size += geometry.length(i);
    DADI_CHECK(read_at(at, std::span(buffer).first(size), prefetch));
    if (options.bytes_per_second == 0) continue;
    next += std::chrono::nanoseconds(
        static_cast<std::int64_t>(static_cast<double>(size) * 1e9 / static_cast<double>(options.bytes_per_second)));
    DADI_CHECK(sleep_until(next, context));
  }
  flush();
  DADI_TRY(const auto verified, cache_->verify(digest_.hex(), context));
  if (verified.whole) return {};
  if (verified.sound + verified.damaged < geometry.chunks())
    return Error::exhausted("{}: the cache has no room for the whole blob", digest_.brief());
  return Error::corruption("{}: what was downloaded is not what its digest says", digest_.brief());
}

}  // namespace dadi::cache
