// A folder of chunks of blobs, within a limit, shared by all processes of a host (or, as a tier, by hosts).
//
//   FOLDER/lock       held while blobs' files are made, looked through or removed
//   FOLDER/HEX.data, FOLDER/HEX.map    of the blob sha256:HEX, see chunk_store.h
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "runtime/cache/chunk_store.h"
#include "runtime/worker_pool.h"

namespace dadi::cache {

struct DiskCacheOptions {
  std::filesystem::path folder;
  Bytes limit{std::uint64_t{4} << 30};  // what all blobs together may take on disk
  Bytes chunk{16U << 10};               // of blobs that are new to the folder: what is kept, or not, as one
  Bytes reach{256U << 10};  // a read that waits brings what follows it, too, up to the end of an aligned piece of this
  Trust trust = Trust::kOwn;
  Bytes joined{1U << 20};               // the most that one fetch brings of neighbouring chunks
  Bytes joined_demand{1U << 17};        // and of what somebody waits for: more comes by several, side by side
  std::size_t fetches = 48;             // at once, that somebody waits for
  std::size_t prefetches = 4;           // at once, besides
  std::chrono::seconds fetch_time{30};  // after which a fetch is given up
  Bytes unwritten{64U << 20};           // what may wait in memory to be written; what is more is not kept
};

struct CacheStats {
  std::uint64_t hits = 0;       // chunks, each time one gave something
  std::uint64_t misses = 0;     // chunks that a read had to wait for
  std::uint64_t damaged = 0;    // chunks whose checksum did not match; fetched again
  std::uint64_t fetches = 0;    // reads of blobs below
  std::uint64_t evictions = 0;  // chunks
  std::uint64_t bypasses = 0;   // chunks not kept, and reads that went around the cache: no room, a failing disk
  Bytes fetched{};              // from blobs below
  Bytes read{};                 // given to readers
};

// One a process and folder, shared by the blobs that use it (see CachedBlob). Never fails: a folder that cannot be used
// is one that keeps nothing. Thread-safe.
class DiskCache {
 public:
  explicit DiskCache(DiskCacheOptions options);

  const DiskCacheOptions& options() const { return options_; }
  // Why the folder cannot be used, if it cannot.
  const Result<void>& usable() const { return usable_; }
  CacheStats stats() const;

  // Evicts what was used longest ago until the files take at most `limit`, and removes files of blobs without chunks
  // that nobody uses. Returns the number of chunks that went. Errors: busy, io.
  Result<std::uint64_t> shrink(Bytes limit);

  // What a folder holds, for people.
  struct Entry {
    std::string hex;
    Bytes size{};    // of the blob
    Bytes cached{};  // of its bytes
    Bytes room{};    // on disk
    std::uint64_t chunks = 0;
    std::uint64_t present = 0;
    std::uint32_t last_used = 0;  // seconds since 1970
    bool whole = false;
    bool in_use = false;
  };
  Result<std::vector<Entry>> list();

  // Reads every chunk of a blob; drops those that are damaged, and all if a complete blob has not its digest.
  struct Verified {
    std::uint64_t sound = 0;
    std::uint64_t damaged = 0;
    bool whole = false;  // complete, and its digest is right
  };
  Result<Verified> verify(const std::string& hex, const ReadContext& context);

 private:
  friend class CachedBlob;
  struct Counters {
    std::atomic<std::uint64_t> hits = 0, misses = 0, damaged = 0, fetches = 0, evictions = 0, bypasses = 0, fetched = 0,
                               read = 0;
  };

  Result<ChunkStore> open_store(const Digest& digest, Bytes size);
  Result<FolderLock> lock();
  std::vector<std::string> blobs() const;
  // Writes chunks, `bytes` in all, if there is room for them; says whether it did.
  bool keep(const ChunkStore& store, std::span<const ChunkStore::Chunk> chunks, std::uint64_t bytes);
  // Whether `bytes` more may be written; evicts for that.
  bool make_room(std::uint64_t bytes);
  Result<std::uint64_t> measure_and_evict(std::uint64_t high, std::uint64_t low);  // returns what is left, in bytes
  // The disk is full, of others' files too: an eighth of what the cache holds goes.
  void give_way();
  std::uint64_t evict(std::vector<ChunkStore>& stores, std::uint64_t excess);
  // After a disk failed, it is left alone for a while.
  bool resting() const;
  void rest();
  static std::uint32_t now();

  const DiskCacheOptions options_;
  Result<void> usable_;
  UniqueFd lock_file_;
  std::mutex mutex_;             // of this process's threads that hold the folder's lock
  std::uint64_t allowance_ = 0;  // guarded by mutex_: what may be written until the folder is measured again
  std::atomic<std::int64_t> rest_until_ = 0;
  std::atomic<std::uint64_t> unwritten_ = 0;  // bytes
  std::atomic<std::uint64_t> demanded_ = 0;   // fetches that somebody waits for, now
  Counters counters_;
  runtime::WorkerPool demand_;
  runtime::WorkerPool prefetch_;
  runtime::WorkerPool writing_;
};

// The folder that a host's cache is in: `wanted` if not empty, else `dadi` in $XDG_CACHE_HOME, /var/cache for root, or
// ~/.cache.
std::filesystem::path cache_folder(const std::string& wanted);

}  // namespace dadi::cache
