// A blob that is far away, read through a cache on disk.
//
//   auto cache = std::make_shared<cache::DiskCache>(cache::DiskCacheOptions{.folder = cache::cache_folder("")});
//   SharedBlob blob = cache::CachedBlob::open(cache, digest, size, remote);
//
// With a folder that hosts share in between (--cache-tier), the same twice:
//
//   auto tier = std::make_shared<cache::DiskCache>(
//       cache::DiskCacheOptions{.folder = "/mnt/shared", .trust = cache::Trust::kShared});
//   SharedBlob blob = cache::CachedBlob::open(cache, digest, size, cache::CachedBlob::open(tier, digest, size,
//   remote));
#pragma once

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "libformat/blob/blob_reader.h"
#include "runtime/cache/disk_cache.h"

namespace dadi::cache {

struct DownloadOptions {
  std::chrono::milliseconds delay{0};
  std::uint64_t bytes_per_second = 0;  // 0: as fast as it goes
};

// Bytes that the cache has are read from it and verified; others are fetched from the blob below, in whole chunks:
// neighbours together, several runs at once, each once for all threads that wait for it. A demand read, unless it is
// exact, has what follows it fetched, too (DiskCacheOptions::reach), but does not wait for that. A fetch belongs to
// none of those: each waits for its own bytes, to its own deadline and stop, and what is given up by all who wait is
// stopped. A fetch that fails fails those that wait for it, and is tried anew by the next read. What was fetched is
// given to its readers as it arrives, and written by another thread.
//
// Where the folder cannot be used, or its disk is full, reads go to the blob below as they are. Thread-safe.
class CachedBlob final : public BlobReader {
 public:
  // Never fails: without a usable folder it reads around it. `below` must give the bytes of that digest and size; its
  // reads must heed stop and deadline, for the destructor waits for them.
  static std::shared_ptr<const CachedBlob> open(std::shared_ptr<DiskCache> cache, const Digest& digest, Bytes size,
                                                SharedBlob below);
  // Writes what was fetched, first.
  ~CachedBlob() override;

  Bytes size() const override { return size_; }
  // Whether the cache had its first chunk when this was opened.
  bool was_here() const { return was_here_; }
  // With context.anew, all of it is fetched, and takes the place of what the cache has.
  // Errors: those of the blob below; unavailable and cancelled at the context's deadline and stop; would_block.
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context = {}) const override;

  // Fetches what is missing, as prefetch, and verifies the whole against its digest; then it counts as whole, and needs
  // the blob below no more. For a thread of the caller's. Errors: those of read_at(); corruption (the digest is
  // another: all was dropped); exhausted (there is no room for the whole).
  Result<void> download(const DownloadOptions& options, const ReadContext& context) const;

  // Waits until everything that was fetched is written or given up.
  void flush() const;

 private:
  struct Fetch;
  class Arrivals;
  struct Part {  // of a read: what it wants of one chunk
    std::uint64_t number = 0;
    std::uint64_t offset = 0;  // in the chunk
    std::span<std::byte> out;
    bool damaged = false;  // what the disk has of it
  };
  using SharedFetch = std::shared_ptr<Fetch>;

  CachedBlob(std::shared_ptr<DiskCache> cache, const Digest& digest, Bytes size, SharedBlob below);

  bool read_stored(Part& part, bool memory_only) const;
  bool read_fetched(const Part& part) const;
  void copy(const Fetch& fetch, const Part& part) const;
  Result<void> read_parts(std::vector<Part> parts, const std::byte* begin, const ReadContext& context) const;
  Result<void> read_around(std::span<const Part> parts, const ReadContext& context) const;
  std::vector<SharedFetch> join_or_start(std::span<const Part> parts, const ReadContext& context) const;
  SharedFetch new_fetch(std::uint64_t first, const ReadContext& context) const;
  void extend(const SharedFetch& fetch) const;
  void reach_out(const SharedFetch& fetch) const;
  bool is_absent(std::uint64_t number) const;
  void start(const SharedFetch& fetch, ReadClass read_class) const;
  Result<void> wait(const SharedFetch& fetch, const Part& part, const ReadContext& context) const;
  void leave(std::span<const SharedFetch> fetches, bool given_up) const;
  void run(const SharedFetch& fetch) const;
  void forget(const SharedFetch& fetch) const;
  void write_fetched() const;
  void note_use(std::uint64_t number) const;
  Result<void> give_way(const ReadContext& context) const;
  void submit(runtime::WorkerPool& pool, std::function<void()> task) const;

  const std::shared_ptr<DiskCache> cache_;
  const Digest digest_;
  const Bytes size_;
  const SharedBlob below_;
  std::optional<ChunkStore> store_;
  bool was_here_ = false;

  mutable std::mutex mutex_;
  mutable std::condition_variable no_task_;
  mutable std::map<std::uint64_t, SharedFetch> fetches_;  // by chunk: being fetched, or fetched and not written yet
  mutable std::vector<SharedFetch> to_write_;
  mutable std::size_t tasks_ = 0;   // submitted and not ended
  mutable std::vector<bool> used_;  // chunks, since uses were last written
  mutable std::chrono::steady_clock::time_point uses_written_{};
};

}  // namespace dadi::cache
