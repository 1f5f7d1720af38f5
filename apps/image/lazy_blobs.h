// Blobs of registries, read as they are needed.
#pragma once

#include <functional>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "apps/image/image_reach.h"
#include "libconvert/oci/descriptor.h"
#include "libconvert/registry/http.h"
#include "runtime/cache/bandwidth.h"
#include "runtime/cache/cached_blob.h"
#include "runtime/device/opening_blob.h"

namespace dadi {

// The layers of one image: each behind this host's cache and the tier, its ends on their way as soon as it is added, so
// that all are opened in the time of one. Background downloads end with this. One thread; the blobs are thread-safe,
// and outlive it.
class LazyBlobs {
 public:
  // `traffic`: where requests to the registry are counted.
  LazyBlobs(LazyOptions options, std::shared_ptr<registry::Traffic> traffic);
  ~LazyBlobs();

  // `remote`: the blob on the registry.
  SharedBlob add(SharedBlob remote, const oci::Descriptor& descriptor, const ReadContext& context);

  // Whether this host's cache has a document, an image's manifest, say; and puts it there. Thread-safe.
  bool has_kept(const oci::Descriptor& document) const;
  void keep(const oci::Descriptor& document, std::vector<std::byte> content) const;

  // All are open: what that took of memory is given back, and what it cost is remembered.
  void opened();

  // Begins to fetch all of the blobs, if the options say so. `tell` hears how it ends, or why it does not.
  void download(std::function<void(std::string_view)> tell);

  // {"requests", "bytes", "opening": {"requests", "bytes", "seconds"}, "chunks": {"hits", "misses", "damaged",
  // "evictions", "bypasses", "fetched"}}
  nlohmann::ordered_json stats() const;
  // "40 requests, 1.2 MiB, 0.13 s": what opening cost, for people.
  std::string opening() const;
  // Why there is no cache although one was wanted.
  Result<void> usable() const;

 private:
  struct Cost {
    std::uint64_t requests = 0;
    std::uint64_t bytes = 0;
    double seconds = 0;
  };

  void download_all(const std::stop_token& stop, const std::function<void(std::string_view)>& tell) const;
  std::shared_ptr<const cache::CachedBlob> behind_caches(SharedBlob remote, const oci::Descriptor& descriptor) const;

  const LazyOptions options_;
  const std::shared_ptr<registry::Traffic> traffic_;
  const std::chrono::steady_clock::time_point begun_;
  std::shared_ptr<cache::DiskCache> cache_;  // null: none is wanted
  std::shared_ptr<cache::DiskCache> tier_;
  std::shared_ptr<cache::Bandwidth> bandwidth_;
  std::unique_ptr<runtime::WorkerPool> opening_;
  std::vector<std::shared_ptr<const cache::CachedBlob>> cached_;
  std::vector<std::shared_ptr<const runtime::OpeningBlob>> blobs_;
  Cost cost_;
  std::jthread downloading_;
};

}  // namespace dadi
