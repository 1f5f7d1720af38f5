// Background download: the whole of a blob, before anybody asks for it.
#include <algorithm>

#include "runtime/cache/bandwidth.h"
#include "runtime/cache/cached_blob.h"

namespace dadi::cache {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLook{5};  // between looks whether others are done
constexpr std::chrono::milliseconds kMostPatience{500};

}  // namespace

// Waits while somebody waits for fetches of this cache, though not for ever.
Result<void> CachedBlob::give_way(const ReadContext& context) const {
  const auto end = Clock::now() + kMostPatience;
  while (cache_->demanded_ > 0 && Clock::now() < end) DADI_CHECK(sleep_until(Clock::now() + kLook, context));
  return {};
}

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
  Bandwidth bandwidth({options.bytes_per_second});
  for (std::uint64_t i = 0; i < geometry.chunks();) {
    if (store_->has(i)) {
      ++i;
      continue;
    }
    std::uint64_t size = 0;
    const Bytes at{i * geometry.chunk()};
    for (std::uint64_t count = 0; count < most && i < geometry.chunks() && !store_->has(i); ++count, ++i)
      size += geometry.length(i);
    if (options.bytes_per_second > 0) DADI_CHECK(bandwidth.wait_for({size}, context));
    DADI_CHECK(give_way(context));
    DADI_CHECK(read_at(at, std::span(buffer).first(size), prefetch));
  }
  flush();
  DADI_TRY(const auto verified, cache_->verify(digest_.hex(), context));
  if (verified.whole) return {};
  if (verified.sound + verified.damaged < geometry.chunks())
    return Error::exhausted("{}: the cache has no room for the whole blob", digest_.brief());
  return Error::corruption("{}: what was downloaded is not what its digest says", digest_.brief());
}

}  // namespace dadi::cache
