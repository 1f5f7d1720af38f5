#include "runtime/cache/cached_blob.h"

#include <algorithm>
#include <cstring>

#include "runtime/device/read_limits.h"

namespace dadi::cache {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kWindow = 8U << 20;  // bytes of a read that are looked after at once
constexpr auto kUsesWritten = std::chrono::seconds(10);

}  // namespace

// Neighbouring chunks on their way. All but `first` and `count` is guarded by the blob's mutex; of `data` the thread
// that fetches has what has not arrived yet, and the rest is not changed any more.
struct CachedBlob::Fetch {
  enum class State { kQueued, kRunning, kDone };

  std::uint64_t offset_of(const Part& part, std::uint64_t chunk) const {
    return (part.number - first) * chunk + part.offset;
  }
  bool has(const Part& part, std::uint64_t chunk) const { return offset_of(part, chunk) + part.out.size() <= arrived; }

  std::uint64_t first = 0;
  std::uint64_t count = 0;
  ReadClass read_class = ReadClass::kDemand;
  bool anew = false;
  State state = State::kQueued;
  std::size_t waiters = 0;
  std::stop_source stop;
  std::vector<std::byte> data;
  std::size_t arrived = 0;  // bytes of it, from the first on
  std::optional<Error> error;
  std::condition_variable_any changed;  // what has arrived, or the state
};

// Lets those that wait have the chunks of a fetch that are there.
class CachedBlob::Arrivals final : public ReadProgress {
 public:
  Arrivals(const CachedBlob& blob, Fetch& fetch) : blob_(blob), fetch_(fetch) {}

  void arrived(std::size_t bytes) override {
    bytes -= bytes % blob_.store_->geometry().chunk();
    if (bytes <= told_) return;
    told_ = bytes;
    {
      const std::lock_guard lock(blob_.mutex_);
      fetch_.arrived = bytes;
      if (fetch_.waiters == 0) return;
    }
    fetch_.changed.notify_all();
  }

 private:
  const CachedBlob& blob_;
  Fetch& fetch_;
  std::size_t told_ = 0;
};

std::shared_ptr<const CachedBlob> CachedBlob::open(std::shared_ptr<DiskCache> cache, const Digest& digest, Bytes size,
                                                   SharedBlob below) {
  return std::shared_ptr<const CachedBlob>(new CachedBlob(std::move(cache), digest, size, std::move(below)));
}

CachedBlob::CachedBlob(std::shared_ptr<DiskCache> cache, const Digest& digest, Bytes size, SharedBlob below)
    : cache_(std::move(cache)), digest_(digest), size_(size), below_(std::move(below)) {
  auto store = cache_->open_store(digest, size);
  if (!store) return;
  store_.emplace(std::move(*store));
  was_here_ = store_->geometry().chunks() > 0 && store_->has(0);
  used_.resize(store_->geometry().chunks());
}

CachedBlob::~CachedBlob() {
  std::vector<SharedFetch> unfinished;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [number, fetch] : fetches_)
      if (fetch->state != Fetch::State::kDone) unfinished.push_back(fetch);
  }
  for (const SharedFetch& fetch : unfinished) fetch->stop.request_stop();
  if (store_) submit(cache_->writing_, [this] { write_fetched(); });  // uses, too
  flush();
}

void CachedBlob::flush() const {
  std::unique_lock lock(mutex_);
  no_task_.wait(lock, [this] { return tasks_ == 0; });
}

void CachedBlob::submit(runtime::WorkerPool& pool, std::function<void()> task) const {
  {
    const std::lock_guard lock(mutex_);
    ++tasks_;
  }
  pool.submit([this, task = std::move(task)] {
    task();
    const std::lock_guard lock(mutex_);
    --tasks_;
    if (tasks_ == 0) no_task_.notify_all();
  });
}

Result<void> CachedBlob::read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const {
  if (offset > size_ || out.size() > (size_ - offset).value)
    return Error::corruption("{}: {} bytes at offset {} reach past the end, {}", digest_.brief(), out.size(),
                             offset.value, size_.value);
  const std::uint64_t chunk = store_ ? store_->geometry().chunk() : kWindow;
  const std::size_t size = out.size();
  const std::byte* const begin = out.data();
  while (!out.empty()) {
    std::vector<Part> parts;
    for (std::uint64_t taken = 0; !out.empty() && (parts.empty() || taken + chunk <= kWindow);) {
      const std::uint64_t skip = offset.value % chunk;
      const auto piece = out.first(std::min<std::uint64_t>(out.size(), chunk - skip));
      parts.push_back({offset.value / chunk, skip, piece});
      out = out.subspan(piece.size());
      offset += Bytes{piece.size()};
      taken += chunk;
    }
    DADI_CHECK(read_parts(std::move(parts), begin, context));
  }
  cache_->counters_.read += size;
  return {};
}

// `begin`: of all that is read, for whoever wants to know how far that is.
Result<void> CachedBlob::read_parts(std::vector<Part> parts, const std::byte* begin, const ReadContext& context) const {
  const auto tell = [&](const Part& missing) {  // what is in front of it is there
    if (context.progress != nullptr) context.progress->arrived(static_cast<std::size_t>(missing.out.data() - begin));
  };
  if (!store_) {
    ++cache_->counters_.bypasses;
    return read_around(parts, context);
  }
  std::vector<Part> missing;
  for (Part& part : parts) {
    if (context.anew) part.damaged = true;
    if (context.anew || (!read_stored(part, context.memory_only) && !read_fetched(part))) missing.push_back(part);
    if (context.memory_only && !missing.empty()) return Error::would_block("not in memory");
  }
  if (missing.empty()) return {};
  if (cache_->resting()) {
    cache_->counters_.bypasses += missing.size();
    return read_around(missing, context);
  }
  DADI_CHECK(runtime::still_wanted(context));
  const auto fetches = join_or_start(missing, context);
  Result<void> result;
  for (std::size_t i = 0; i < missing.size() && result; ++i) {
    tell(missing[i]);
    const SharedFetch& fetch = fetches[i];
    if (!fetch) {  // another thread was done with it just now
      if (!read_stored(missing[i], false)) result = read_around(std::span(missing).subspan(i, 1), context);
      continue;
    }
    result = wait(fetch, missing[i], context);
    if (result) copy(*fetch, missing[i]);
  }
  leave(fetches, /*given_up=*/!result);
  return result;
}

// From the disk. What it cannot give, for whatever reason, is fetched.
bool CachedBlob::read_stored(Part& part, bool memory_only) const {
  const auto result = store_->read(part.number, part.offset, part.out, memory_only);
  if (result) {
    ++cache_->counters_.hits;
    note_use(part.number);
    return true;
  }
  if (result.error().code() == ErrorCode::kCorruption || result.error().code() == ErrorCode::kIo) {
    part.damaged = true;
    if (!memory_only) ++cache_->counters_.damaged;
  }
  return false;
}

// From what was fetched and is not on disk yet.
bool CachedBlob::read_fetched(const Part& part) const {
  SharedFetch fetch;
  {
    const std::lock_guard lock(mutex_);
    const auto found = fetches_.find(part.number);
    if (found == fetches_.end() || !found->second->has(part, store_->geometry().chunk())) return false;
    fetch = found->second;
  }
  copy(*fetch, part);
  ++cache_->counters_.hits;
  return true;
}

// REQUIRES: it has arrived.
void CachedBlob::copy(const Fetch& fetch, const Part& part) const {
  std::memcpy(part.out.data(), fetch.data.data() + fetch.offset_of(part, store_->geometry().chunk()), part.out.size());
}

// Straight from the blob below, neighbours at once.
Result<void> CachedBlob::read_around(std::span<const Part> parts, const ReadContext& context) const {
  const std::uint64_t chunk = store_ ? store_->geometry().chunk() : kWindow;
  ReadContext silent = context;
  silent.progress = nullptr;
  while (!parts.empty()) {
    const Part& first = parts.front();
    std::size_t size = first.out.size();
    std::size_t count = 1;
    for (; count < parts.size() && parts[count].out.data() == first.out.data() + size; ++count)
      size += parts[count].out.size();
    DADI_CHECK(below_->read_at({first.number * chunk + first.offset}, {first.out.data(), size}, silent));
    ++cache_->counters_.fetches;
    cache_->counters_.fetched += size;
    parts = parts.subspan(count);
  }
  return {};
}

// For each part the fetch that brings it, which the caller now waits for and must leave(). None for a part that came to
// the disk meanwhile. REQUIRES: parts in the order of their chunks.
std::vector<CachedBlob::SharedFetch> CachedBlob::join_or_start(std::span<const Part> parts,
                                                               const ReadContext& context) const {
  const DiskCacheOptions& options = cache_->options();
  const Bytes at_once = context.read_class == ReadClass::kDemand ? options.joined_demand : options.joined;
  const std::uint64_t most = std::max<std::uint64_t>(1, at_once.value / store_->geometry().chunk());
  std::vector<SharedFetch> joined(parts.size());
  std::vector<SharedFetch> to_start;
  SharedFetch started;  // the last that is new, and may still grow
  {
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const std::uint64_t number = parts[i].number;
      SharedFetch& fetch = joined[i];
      const auto found = fetches_.find(number);
      // What was fetched before the caller found it damaged is no better than what the disk has, and may be that.
      const bool stale = found != fetches_.end() && context.anew &&
                         (!found->second->anew || found->second->state == Fetch::State::kDone);
      if (found != fetches_.end() && !stale) {
        fetch = found->second;
        if (fetch->state == Fetch::State::kQueued && fetch->read_class == ReadClass::kPrefetch &&
            context.read_class == ReadClass::kDemand && fetch->waiters > 0) {
          fetch->read_class = ReadClass::kDemand;  // whichever thread comes first to it
          to_start.push_back(fetch);
        }
      } else if (!parts[i].damaged && store_->has(number)) {
        continue;
      } else if (i > 0 && joined[i - 1] == started && started &&
                 joined[i - 1]->first + joined[i - 1]->count == number && joined[i - 1]->count < most) {
        fetch = joined[i - 1];
        extend(fetch);
      } else {
        fetch = new_fetch(number, context);
        to_start.push_back(fetch);
        started = fetch;
      }
      ++fetch->waiters;
    }
    if (started && context.read_class == ReadClass::kDemand && !context.exact && !context.anew) reach_out(started);
  }
  cache_->counters_.misses += parts.size();
  for (const SharedFetch& fetch : to_start) start(fetch, context.read_class);
  return joined;
}

// Has a fetch bring what follows it, too, up to where an aligned piece ends: that comes next, more often than not, and
// arrives after what somebody waits for. REQUIRES: mutex_ is held; the fetch is not started yet.
void CachedBlob::reach_out(const SharedFetch& fetch) const {
  const std::uint64_t reach = std::max<std::uint64_t>(1, cache_->options().reach.value / store_->geometry().chunk());
  const std::uint64_t begin = fetch->first + fetch->count;
  const std::uint64_t end = std::min(round_up(begin, reach), store_->geometry().chunks());
  for (std::uint64_t number = begin; number < end && is_absent(number); ++number) extend(fetch);
}

// Of one chunk, to be started. REQUIRES: mutex_ is held.
CachedBlob::SharedFetch CachedBlob::new_fetch(std::uint64_t first, const ReadContext& context) const {
  auto fetch = std::make_shared<Fetch>();
  fetch->first = first;
  fetch->count = 1;
  fetch->read_class = context.read_class;
  fetch->anew = context.anew;
  fetches_[first] = fetch;
  return fetch;
}

// By the next chunk. REQUIRES: mutex_ is held; the fetch is not started yet.
void CachedBlob::extend(const SharedFetch& fetch) const {
  fetches_[fetch->first + fetch->count] = fetch;
  ++fetch->count;
}

// Neither kept nor on its way. REQUIRES: mutex_ is held.
bool CachedBlob::is_absent(std::uint64_t number) const {
  return !fetches_.contains(number) && !store_->has(number);
}

void CachedBlob::start(const SharedFetch& fetch, ReadClass read_class) const {
  submit(read_class == ReadClass::kDemand ? cache_->demand_ : cache_->prefetch_, [this, fetch] { run(fetch); });
}

// Until the part of it is there. Errors: the fetch's; unavailable, cancelled.
Result<void> CachedBlob::wait(const SharedFetch& fetch, const Part& part, const ReadContext& context) const {
  std::unique_lock lock(mutex_);
  const auto there = [&] { return fetch->has(part, store_->geometry().chunk()); };
  const auto done = [&] { return there() || fetch->state == Fetch::State::kDone; };
  const bool ended = context.deadline == Clock::time_point::max()
                         ? fetch->changed.wait(lock, context.stop, done)
                         : fetch->changed.wait_until(lock, context.stop, context.deadline, done);
  if (!ended) {
    DADI_CHECK(runtime::still_wanted(context));
    return Error::unavailable("no answer within the time allowed");
  }
  if (!there()) return *fetch->error;
  return {};
}

// A fetch that is given up, and that nobody else waits for, is stopped; who wants its chunks from now on starts
// another.
void CachedBlob::leave(std::span<const SharedFetch> fetches, bool given_up) const {
  std::vector<SharedFetch> unwanted;
  {
    const std::lock_guard lock(mutex_);
    for (const SharedFetch& fetch : fetches) {
      if (!fetch || --fetch->waiters > 0 || !given_up || fetch->state == Fetch::State::kDone) continue;
      forget(fetch);
      unwanted.push_back(fetch);
    }
  }
  for (const SharedFetch& fetch : unwanted) fetch->stop.request_stop();
}

// REQUIRES: mutex_ is held.
void CachedBlob::forget(const SharedFetch& fetch) const {
  for (std::uint64_t number = fetch->first; number < fetch->first + fetch->count; ++number)
    if (const auto found = fetches_.find(number); found != fetches_.end() && found->second == fetch)
      fetches_.erase(found);
}

void CachedBlob::run(const SharedFetch& fetch) const {
  ReadContext context{.stop = fetch->stop.get_token(), .deadline = Clock::now() + cache_->options().fetch_time};
  {
    const std::lock_guard lock(mutex_);
    if (fetch->state != Fetch::State::kQueued) return;
    fetch->state = Fetch::State::kRunning;
    context.read_class = fetch->read_class;
    context.anew = fetch->anew;
    context.exact = true;  // reaching out was done
  }
  Arrivals arrivals(*this, *fetch);
  context.progress = &arrivals;
  const bool demanded = context.read_class == ReadClass::kDemand;
  if (demanded) ++cache_->demanded_;
  const Geometry& geometry = store_->geometry();
  const Bytes at{fetch->first * geometry.chunk()};
  fetch->data.resize(std::min(fetch->count * geometry.chunk(), (size_ - at).value));
  auto result = context.stop.stop_requested() ? Result<void>(Error::cancelled("nobody waits for it"))
                                              : below_->read_at(at, fetch->data, context);
  if (demanded) --cache_->demanded_;
  DiskCache::Counters& counters = cache_->counters_;
  ++counters.fetches;
  const std::uint64_t size = fetch->data.size();
  if (result) counters.fetched += size;
  const bool keep = result && cache_->unwritten_.fetch_add(size) + size <= cache_->options().unwritten.value;
  if (result && !keep) cache_->unwritten_ -= size;
  {
    const std::lock_guard lock(mutex_);
    fetch->state = Fetch::State::kDone;
    if (result)
      fetch->arrived = size;
    else
      fetch->error = std::move(result).error();
    if (keep) {
      to_write_.push_back(fetch);
    } else {
      forget(fetch);
    }
  }
  fetch->changed.notify_all();
  if (fetch->error) return;
  if (keep) {
    submit(cache_->writing_, [this] { write_fetched(); });
  } else {
    counters.bypasses += fetch->count;
  }
}

// Writes all that waits for it, made durable at once; and which chunks were used.
void CachedBlob::write_fetched() const {
  std::vector<SharedFetch> fetched;
  std::vector<std::uint64_t> used;
  {
    const std::lock_guard lock(mutex_);
    fetched.swap(to_write_);
    for (std::uint64_t i = 0; i < used_.size(); ++i)
      if (used_[i]) used.push_back(i);
    used_.assign(used_.size(), false);
    uses_written_ = Clock::now();
  }
  if (!used.empty()) (void)store_->touch(used, DiskCache::now());  // uses that are lost do no harm
  if (fetched.empty()) return;
  const std::uint64_t chunk = store_->geometry().chunk();
  std::vector<ChunkStore::Chunk> chunks;
  std::uint64_t bytes = 0;
  for (const SharedFetch& fetch : fetched) {
    const std::span<const std::byte> data = fetch->data;
    for (std::uint64_t i = 0; i < fetch->count; ++i)
      chunks.push_back({fetch->first + i, data.subspan(i * chunk, std::min(chunk, data.size() - i * chunk))});
    bytes += data.size();
  }
  if (!cache_->keep(*store_, chunks, bytes)) cache_->counters_.bypasses += chunks.size();
  cache_->unwritten_ -= bytes;
  const std::lock_guard lock(mutex_);
  for (const SharedFetch& fetch : fetched) forget(fetch);
}

void CachedBlob::note_use(std::uint64_t number) const {
  {
    const std::lock_guard lock(mutex_);
    if (used_[number]) return;
    used_[number] = true;
    const auto now = Clock::now();
    if (now - uses_written_ < kUsesWritten) return;
    uses_written_ = now;
  }
  submit(cache_->writing_, [this] { write_fetched(); });
}

}  // namespace dadi::cache
