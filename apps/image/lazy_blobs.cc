#include "apps/image/lazy_blobs.h"

#include <algorithm>
#include <tuple>

#include "libformat/blob/memory_blob.h"

namespace dadi {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kOpeningThreads = 64;            // that wait for ends of layers
constexpr std::chrono::seconds kBetweenDownloads{30};  // when the registry does not answer

std::shared_ptr<cache::DiskCache> open_cache(const LazyOptions& options, const std::filesystem::path& folder,
                                             cache::Trust trust) {
  return std::make_shared<cache::DiskCache>(
      cache::DiskCacheOptions{.folder = folder, .limit = options.cache_size, .reach = options.chunk, .trust = trust});
}

}  // namespace

LazyBlobs::LazyBlobs(LazyOptions options, std::shared_ptr<registry::Traffic> traffic)
    : options_(std::move(options)),
      traffic_(std::move(traffic)),
      begun_(Clock::now()),
      opening_(std::make_unique<runtime::WorkerPool>("dadi-open", kOpeningThreads)) {
  if (options_.rate.value > 0) bandwidth_ = std::make_shared<cache::Bandwidth>(options_.rate);
  if (!options_.tier.empty()) tier_ = open_cache(options_, options_.tier, cache::Trust::kShared);
  if (options_.cached) cache_ = open_cache(options_, cache::cache_folder(options_.cache_folder), cache::Trust::kOwn);
}

LazyBlobs::~LazyBlobs() {
  opened();
}

SharedBlob LazyBlobs::add(SharedBlob remote, const oci::Descriptor& descriptor, const ReadContext& context) {
  if (bandwidth_) remote = std::make_shared<cache::LimitedBlob>(std::move(remote), bandwidth_);
  for (const auto& cache : {tier_, cache_}) {
    if (!cache) continue;
    auto cached = cache::CachedBlob::open(cache, descriptor.digest, descriptor.size, std::move(remote));
    if (cache == cache_) cached_.push_back(cached);
    remote = std::move(cached);
  }
  blobs_.push_back(runtime::OpeningBlob::start(std::move(remote), *opening_, context));
  return blobs_.back();
}

bool LazyBlobs::has_kept(const oci::Descriptor& document) const {
  return cache_ && cache::CachedBlob::open(cache_, document.digest, document.size, nullptr)->was_here();
}

void LazyBlobs::keep(const oci::Descriptor& document, std::vector<std::byte> content) const {
  if (!cache_) return;
  const auto below = std::make_shared<MemoryBlob>(std::move(content));
  const auto blob = cache::CachedBlob::open(cache_, document.digest, document.size, below);
  std::vector<std::byte> scratch(document.size.value);
  std::ignore = blob->read_at({0}, scratch).has_value();  // which keeps it, if that can be
}

void LazyBlobs::opened() {
  if (opening_ == nullptr) return;
  for (const auto& blob : blobs_) blob->finish();
  blobs_.clear();
  cost_ = {traffic_->requests, traffic_->bytes, std::chrono::duration<double>(Clock::now() - begun_).count()};
  opening_.reset();
}

void LazyBlobs::download(std::function<void(std::string_view)> tell) {
  if (!options_.download || cached_.empty() || downloading_.joinable()) return;
  downloading_ =
      std::jthread([this, tell = std::move(tell)](const std::stop_token& stop) { download_all(stop, tell); });
}

void LazyBlobs::download_all(const std::stop_token& stop, const std::function<void(std::string_view)>& tell) const {
  ReadContext context;
  context.stop = stop;
  cache::DownloadOptions options{.delay = options_.download_delay, .bytes_per_second = options_.download_rate.value};
  for (std::size_t i = 0; i < cached_.size();) {
    const auto result = cached_[i]->download(options, context);
    options.delay = {};
    if (stop.stop_requested()) return;
    if (result) {
      ++i;
      continue;
    }
    tell(fmt::format("download: {}", result.error().message()));
    if (result.error().code() != ErrorCode::kUnavailable) return;  // another try would end the same
    options.delay = kBetweenDownloads;
  }
  tell("all of the image is on this host");
}

nlohmann::ordered_json LazyBlobs::stats() const {
  nlohmann::ordered_json json = {
      {"requests", traffic_->requests.load()},
      {"bytes", traffic_->bytes.load()},
      {"opening", {{"requests", cost_.requests}, {"bytes", cost_.bytes}, {"seconds", cost_.seconds}}}};
  if (!cache_) return json;
  const cache::CacheStats stats = cache_->stats();
  json["chunks"] = {{"hits", stats.hits},           {"misses", stats.misses},     {"damaged", stats.damaged},
                    {"evictions", stats.evictions}, {"bypasses", stats.bypasses}, {"fetched", stats.fetched.value}};
  return json;
}

std::string LazyBlobs::opening() const {
  return fmt::format("opened with {} requests, {} bytes, in {:.3f} s", cost_.requests, cost_.bytes, cost_.seconds);
}

Result<void> LazyBlobs::usable() const {
  for (const auto& cache : {cache_, tier_})
    if (cache && !cache->usable()) return cache->usable().error();
  return {};
}

}  // namespace dadi
