#include "libconvert/layer_cache/conversion_cache.h"

#include <algorithm>
#include <condition_variable>

#include "libconvert/layer_cache/layer_list.h"
#include "libconvert/oci/verified_source.h"

namespace dadi::layer_cache {

namespace {

constexpr int kMostWrites = 5;                              // of a list that others write, too
constexpr auto kSettling = std::chrono::milliseconds(300);  // after which they have most likely written

Result<void> wait_for(std::chrono::milliseconds time, const std::stop_token& stop) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any woken;
  woken.wait_for(lock, stop, time, [] { return false; });
  if (stop.stop_requested()) return Error::cancelled("stopped");
  return {};
}

}  // namespace

// All layers of an image are used at once; should some have to go, it is those on top, without which the rest is of
// use.
LayerStore::Time ConversionCache::stamp(std::size_t number) const {
  return options_.now - std::chrono::microseconds(number);
}

Result<void> ConversionCache::add_source(std::unique_ptr<oci::ImageSource> source) {
  DADI_TRY(const auto layers, read_list(*source));
  for (const KeptLayer& layer : layers) remote_.emplace(layer.key, Remote{layer, source.get()});
  sources_.push_back(std::move(source));
  return {};
}

std::optional<KeptLayer> ConversionCache::find(const Digest& key, std::size_t number) {
  if (!options_.look_up) return std::nullopt;
  if (auto layer = store_.find(key, stamp(number))) return layer;
  const auto at = remote_.find(key);
  return at == remote_.end() ? std::nullopt : std::optional(at->second.layer);
}

Result<SharedBlob> ConversionCache::open_blob(const KeptLayer& layer) {
  if (const auto at = opened_.find(layer.key); at != opened_.end()) return at->second;
  auto blob = store_.open_blob(layer, options_.stop);
  if (const auto at = remote_.find(layer.key); !blob && at != remote_.end() && at->second.layer.blob == layer.blob) {
    if (options_.stop.stop_requested()) return Error::cancelled("stopped");
    const oci::Descriptor descriptor = describe(layer);
    DADI_TRY(const auto stream, at->second.source->stream_blob(descriptor, {.stop = options_.stop}));
    DADI_CHECK(store_.fetch(layer, *stream, options_.now));
    blob = store_.open_blob(layer, options_.stop);
  }
  if (blob) opened_.emplace(layer.key, *blob);
  return blob;
}

void ConversionCache::forget(const KeptLayer& layer) {
  store_.drop(layer.key);
  remote_.erase(layer.key);
  opened_.erase(layer.key);
}

void ConversionCache::hold(const std::filesystem::path& file, const BlobIdentity& blob) {
  auto held = store_.hold(file, blob);
  if (held) return;
  const std::lock_guard lock(mutex_);
  not_held_.insert_or_assign(blob.digest, std::move(held));
}

Result<void> ConversionCache::keep(const KeptLayer& layer, std::size_t number) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto at = not_held_.find(layer.blob.digest); at != not_held_.end()) return at->second;
  }
  opened_.erase(layer.key);
  return store_.keep(layer, stamp(number));
}

Result<SharedBlob> ConversionCache::open_used(const Digest& blob) {
  const auto layer = std::ranges::find_if(used_, [&](const KeptLayer& used) { return used.blob.digest == blob; });
  if (layer == used_.end()) return Error::not_found("no layer of the cache is {}", blob.to_string());
  return open_blob(*layer);
}

Result<bool> ConversionCache::lists_all(const Target& target, std::vector<KeptLayer>& listed) const {
  auto source = target.source();
  if (!source && source.error().code() == ErrorCode::kNotFound) return used_.empty();
  if (!source) return std::move(source).error();
  DADI_TRY(listed, read_list(**source));
  return std::ranges::all_of(used_,
                             [&](const KeptLayer& layer) { return std::ranges::find(listed, layer) != listed.end(); });
}

Result<void> ConversionCache::write(const Target& target) {
  DADI_TRY(const auto destination, target.destination());
  for (const KeptLayer& layer : used_) {
    DADI_TRY(const bool there, destination->has_blob(layer.blob.digest, layer.blob.size));
    if (there) continue;
    DADI_TRY(const SharedBlob blob, open_blob(layer));
    DADI_CHECK(copy_blob(blob, layer.blob, *destination, options_.stop));
  }
  std::vector<KeptLayer> listed;  // as late as can be
  DADI_CHECK(lists_all(target, listed));
  // Others' blobs may be gone from there, so that their list cannot be written again.
  const auto all = write_list(merge_lists(used_, listed), *destination);
  if (all || listed.empty()) return all;
  if (all.error().code() != ErrorCode::kNotFound && all.error().code() != ErrorCode::kUnsupported) return all;
  DADI_TRY(const auto again, target.destination());
  return write_list(used_, *again);
}

Result<void> ConversionCache::publish(const Target& target) {
  for (int writes = 0;; ++writes) {
    std::vector<KeptLayer> listed;
    DADI_TRY(const bool complete, lists_all(target, listed));
    if (complete) return {};
    if (writes == kMostWrites) return Error::busy("others write the list of layers all the time");
    DADI_CHECK(write(target));
    DADI_CHECK(wait_for(kSettling, options_.stop));
  }
}

HeldFiles::HeldFiles(ConversionCache* cache, oci::ImageDestination& destination)
    : destination_(cache != nullptr ? &destination : nullptr) {
  if (cache == nullptr) return;
  before_ = destination.on_finished({});
  destination.on_finished([cache, before = before_](const auto& file, const BlobIdentity& blob) {
    if (before) before(file, blob);
    cache->hold(file, blob);
  });
}

HeldFiles::~HeldFiles() {
  if (destination_ != nullptr) destination_->on_finished(std::move(before_));
}

Result<void> copy_blob(const SharedBlob& blob, const BlobIdentity& identity, oci::ImageDestination& destination,
                       const std::stop_token& stop) {
  DADI_TRY(const auto sink, destination.create_blob({0}));
  oci::VerifiedSource content(std::make_unique<oci::BlobStream>(blob), identity.digest, identity.size);
  for (;;) {
    if (stop.stop_requested()) return Error::cancelled("stopped");
    DADI_TRY(const auto piece, content.next());
    if (piece.empty()) break;
    DADI_CHECK(sink->write(piece));
  }
  DADI_CHECK(sink->finish({}));
  return {};
}

}  // namespace dadi::layer_cache
