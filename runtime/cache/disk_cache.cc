#include "runtime/cache/disk_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <tuple>

namespace dadi::cache {

namespace {

constexpr auto kRest = std::chrono::seconds(5);
constexpr std::string_view kMapEnding = ".map";

// The folder, made where it is missing. Errors: denied (others can write to it, and nobody said that it is shared), io.
Result<void> prepare_folder(const std::filesystem::path& folder, Trust trust) {
  std::error_code failed;
  if (folder.has_parent_path()) std::filesystem::create_directories(folder.parent_path(), failed);
  if (::mkdir(folder.c_str(), trust == Trust::kShared ? 0755 : 0700) != 0 && errno != EEXIST)
    return Error::from_errno(errno, fmt::format("make the cache {}", folder.string()));
  struct stat status {};
  if (::stat(folder.c_str(), &status) != 0) return Error::from_errno(errno, folder.string());
  if (!S_ISDIR(status.st_mode)) return Error::invalid_argument("the cache {} is not a folder", folder.string());
  if (trust == Trust::kOwn && (status.st_uid != ::geteuid() || (status.st_mode & 022) != 0))
    return Error::denied("the cache {} can be written by others", folder.string())
        .with_hint("chmod go-w it, or name another folder");
  return {};
}

Result<UniqueFd> open_lock(const std::filesystem::path& folder) {
  UniqueFd fd(::open((folder / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644));
  if (!fd) return Error::from_errno(errno, fmt::format("open {}", (folder / "lock").string()));
  return fd;
}

bool is_hex(std::string_view text) {
  return text.size() == 2 * Digest::kSize && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::int64_t steady_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

DiskCache::DiskCache(DiskCacheOptions options)
    : options_(std::move(options)),
      demand_("dadi-fetch", std::max<std::size_t>(1, options_.fetches)),
      prefetch_("dadi-prefetch", std::max<std::size_t>(1, options_.prefetches)),
      writing_("dadi-cache", 1) {
  usable_ = prepare_folder(options_.folder, options_.trust);
  if (!usable_) return;
  auto lock_file = open_lock(options_.folder);
  if (lock_file) {
    lock_file_ = std::move(*lock_file);
  } else {
    usable_ = std::move(lock_file).error();
  }
}

CacheStats DiskCache::stats() const {
  const Counters& c = counters_;
  return {c.hits, c.misses, c.damaged, c.fetches, c.evictions, c.bypasses, {c.fetched.load()}, {c.read.load()}};
}

std::uint32_t DiskCache::now() {
  const auto since = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<std::uint32_t>(
      std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::seconds>(since).count()));
}

bool DiskCache::resting() const {
  return rest_until_ > 0 && steady_seconds() < rest_until_;
}
void DiskCache::rest() {
  rest_until_ = steady_seconds() + kRest.count();
}

// REQUIRES: mutex_ is held.
Result<FolderLock> DiskCache::lock() {
  if (!usable_) return usable_.error();
  return FolderLock::take(lock_file_.get());
}

Result<ChunkStore> DiskCache::open_store(const Digest& digest, Bytes size) {
  DADI_TRY(const Geometry geometry, Geometry::make(digest, size, options_.chunk));
  const std::lock_guard guard(mutex_);
  DADI_TRY(const auto held, lock());
  return ChunkStore::open(options_.folder, geometry, options_.trust);
}

// The names that blobs' files have, whatever they are.
std::vector<std::string> DiskCache::blobs() const {
  std::vector<std::string> found;
  std::error_code failed;
  for (std::filesystem::directory_iterator it(options_.folder, failed), end; !failed && it != end;
       it.increment(failed)) {
    const std::string name = it->path().filename().string();
    if (name.ends_with(kMapEnding) && is_hex(std::string_view(name).substr(0, name.size() - kMapEnding.size())))
      found.push_back(name.substr(0, name.size() - kMapEnding.size()));
  }
  std::sort(found.begin(), found.end());
  return found;
}

bool DiskCache::keep(const ChunkStore& store, std::span<const ChunkStore::Chunk> chunks, std::uint64_t bytes) {
  if (resting() || !make_room(bytes)) return false;
  auto result = store.write(chunks, now());
  if (!result && result.error().code() == ErrorCode::kExhausted) {
    give_way();
    result = store.write(chunks, now());
  }
  if (!result) rest();
  return result.has_value();
}

void DiskCache::give_way() {
  const std::lock_guard guard(mutex_);
  allowance_ = 0;
  const auto used = measure_and_evict(~std::uint64_t{0}, 0);
  if (used) (void)measure_and_evict(0, *used / 8 * 7);
}

bool DiskCache::make_room(std::uint64_t bytes) {
  const std::lock_guard guard(mutex_);
  if (allowance_ < bytes) {
    allowance_ = 0;
    const std::uint64_t limit = options_.limit.value;
    const std::uint64_t spare = limit / 8 + bytes;
    if (spare > limit) return false;
    const auto used = measure_and_evict(limit - bytes, limit - spare);
    if (!used || *used + bytes > limit) return false;
    // Other processes write too, as many as four without passing the limit.
    allowance_ = std::max((limit - *used) / 4, bytes);
  }
  allowance_ -= bytes;
  return true;
}

// Brings what the files take to `low`, if it is over `high`. REQUIRES: mutex_ is held.
Result<std::uint64_t> DiskCache::measure_and_evict(std::uint64_t high, std::uint64_t low) {
  DADI_TRY(const auto held, lock());
  std::uint64_t used = 0;
  std::vector<ChunkStore> stores;
  for (const std::string& hex : blobs()) {
    auto store = ChunkStore::open_existing(options_.folder, hex, options_.trust);
    if (!store) continue;
    used += store->room().value;
    stores.push_back(std::move(*store));
  }
  if (used <= high) return used;
  return used - std::min(used, evict(stores, used - low));
}

// Frees `excess` bytes, those used longest ago first. Returns how much it freed.
std::uint64_t DiskCache::evict(std::vector<ChunkStore>& stores, std::uint64_t excess) {
  const std::uint64_t wanted = excess;
  struct Candidate {
    std::uint32_t stamp;
    std::uint32_t store;
    std::uint64_t number;
  };
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < stores.size(); ++i) {
    const auto uses = stores[i].uses();
    if (!uses) continue;
    excess -= std::min(excess, stores[i].reclaim(*uses));
    for (const auto& use : *uses) candidates.push_back({use.stamp, static_cast<std::uint32_t>(i), use.number});
  }
  std::sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return std::tie(a.stamp, a.store, a.number) < std::tie(b.stamp, b.store, b.number);
  });
  std::map<std::uint32_t, std::vector<std::uint64_t>> victims;
  std::uint64_t planned = 0;
  for (const Candidate& candidate : candidates) {
    if (planned >= excess) break;
    victims[candidate.store].push_back(candidate.number);
    planned += stores[candidate.store].geometry().length(candidate.number);
  }
  std::uint64_t freed = wanted - excess;  // by reclaiming
  for (std::size_t i = 0; i < stores.size(); ++i) {
    const std::uint64_t before = stores[i].room().value;
    if (const auto found = victims.find(static_cast<std::uint32_t>(i)); found != victims.end()) {
      if (!stores[i].drop(found->second)) continue;
      counters_.evictions += found->second.size();
    }
    const auto left = stores[i].uses();
    const bool removed = left && left->empty() && stores[i].remove_unused(options_.folder);
    const std::uint64_t after = removed ? 0 : stores[i].room().value;
    freed += before - std::min(before, after);
  }
  return freed;
}

Result<std::uint64_t> DiskCache::shrink(Bytes limit) {
  const std::lock_guard guard(mutex_);
  const std::uint64_t before = counters_.evictions;
  DADI_CHECK(measure_and_evict(limit.value, limit.value));
  allowance_ = 0;
  return counters_.evictions - before;
}

Result<std::vector<DiskCache::Entry>> DiskCache::list() {
  const std::lock_guard guard(mutex_);
  DADI_TRY(const auto held, lock());
  std::vector<Entry> entries;
  for (const std::string& hex : blobs()) {
    Entry entry{.hex = hex};
    entry.in_use = ChunkStore::in_use(options_.folder, hex);
    const auto store = ChunkStore::open_existing(options_.folder, hex, options_.trust);
    if (!store) continue;
    entry.size = store->geometry().size();
    entry.room = store->room();
    entry.chunks = store->geometry().chunks();
    entry.whole = store->whole();
    DADI_TRY(const auto uses, store->uses());
    entry.present = uses.size();
    for (const auto& use : uses) {
      entry.cached += Bytes{store->geometry().length(use.number)};
      entry.last_used = std::max(entry.last_used, use.stamp);
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<DiskCache::Verified> DiskCache::verify(const std::string& hex, const ReadContext& context) {
  if (!usable_) return usable_.error();
  DADI_TRY(const auto store, ChunkStore::open_existing(options_.folder, hex, options_.trust));
  DADI_TRY(const auto uses, store.uses());
  Verified verified;
  Hasher hasher;
  std::vector<std::uint64_t> damaged;
  std::vector<std::byte> bytes;
  for (const auto& use : uses) {
    if (context.stop.stop_requested()) return Error::cancelled("stopped");
    bytes.resize(store.geometry().length(use.number));
    const auto result = store.read(use.number, 0, bytes, false);
    if (result) {
      ++verified.sound;
      hasher.update(bytes);
    } else if (result.error().code() != ErrorCode::kNotFound) {
      damaged.push_back(use.number);
    }
  }
  verified.damaged = damaged.size();
  if (verified.sound == store.geometry().chunks()) {
    verified.whole = hasher.finish() == store.geometry().digest();
    if (verified.whole) {
      DADI_CHECK(store.mark_whole());
    } else {
      verified.damaged = verified.sound;
      verified.sound = 0;
      for (const auto& use : uses) damaged.push_back(use.number);
    }
  }
  if (!damaged.empty()) DADI_CHECK(store.drop(damaged));
  return verified;
}

std::filesystem::path cache_folder(const std::string& wanted) {
  if (!wanted.empty()) return wanted;
  const auto variable = [](const char* name) -> std::filesystem::path {
    const char* value = std::getenv(name);
    return value != nullptr && *value == '/' ? value : "";
  };
  if (const auto folder = variable("XDG_CACHE_HOME"); !folder.empty()) return folder / "dadi";
  if (const auto home = variable("HOME"); ::geteuid() != 0 && !home.empty()) return home / ".cache/dadi";
  return "/var/cache/dadi";
}

}  // namespace dadi::cache
