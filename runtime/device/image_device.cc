#include "runtime/device/image_device.h"

#include <algorithm>

#include "runtime/device/cached_layer.h"
#include "runtime/device/piecewise_read.h"
#include "runtime/device/read_limits.h"

namespace dadi::runtime {

namespace {

constexpr Bytes kLeastPiece{64U << 10};

// What one thread reads of a large read: much more than the blocks at its ends, which its neighbours decompress too.
Bytes piece_for(std::size_t largest_block) {
  return std::max(kLeastPiece, Bytes{4 * largest_block});
}

}  // namespace

ImageDevice::ImageDevice(DeviceOptions options, Bytes piece, std::unique_ptr<BlockCache> cache,
                         std::unique_ptr<lsmt::StackReader> stack, std::vector<StoredLayer> stored, lsmt::LayerInfo top)
    : options_(std::move(options)),
      piece_(piece),
      cache_(std::move(cache)),
      stack_(std::move(stack)),
      stored_(std::move(stored)),
      top_(std::move(top)) {}

Result<std::unique_ptr<ImageDevice>> ImageDevice::open(std::vector<DeviceLayer> layers, DeviceOptions options,
                                                       const ReadContext& context) {
  DADI_TRY(std::vector<LayerFile> files, open_layers(layers, context));
  std::size_t largest_block = 0;
  for (const LayerFile& file : files)
    if (file.zfile) largest_block = std::max<std::size_t>(largest_block, file.zfile->block_size);
  DADI_TRY(auto cache, BlockCache::create(options.memory, largest_block));

  std::vector<lsmt::LayerReader> readers;
  std::vector<std::string> names;
  std::vector<StoredLayer> stored;
  for (std::size_t i = 0; i < files.size(); ++i) {
    readers.push_back(std::move(files[i].layer));
    stored.push_back({files[i].blocks, readers[i].blob(), nullptr});
    if (options.accounted)
      stored[i].account = std::make_shared<PrefetchAccount>(files[i].blocks, readers[i].blob()->size());
    if (files[i].blocks)
      readers[i] = std::move(readers[i]).over(std::make_shared<CachedLayer>(std::move(files[i].blocks), *cache, i));
    if (options.recorder) {
      SharedBlob recorded =
          std::make_shared<RecordedLayer>(readers[i].blob(), static_cast<std::uint32_t>(i), options.recorder);
      readers[i] = std::move(readers[i]).over(std::move(recorded));
    }
    if (const auto& account = stored[i].account)
      readers[i] = std::move(readers[i]).over(std::make_shared<AccountedLayer>(readers[i].blob(), account));
    names.push_back(std::move(layers[i].name));
  }
  lsmt::LayerInfo top = readers.empty() ? lsmt::LayerInfo{} : readers.back().info();
  DADI_TRY(auto stack, lsmt::StackReader::open(std::move(readers), std::move(names)));
  return std::unique_ptr<ImageDevice>(new ImageDevice(std::move(options), piece_for(largest_block), std::move(cache),
                                                      std::move(stack), std::move(stored), std::move(top)));
}

Result<void> ImageDevice::read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  under_way_.fetch_add(1, std::memory_order_relaxed);
  auto result = read(at, out, context);
  under_way_.fetch_sub(1, std::memory_order_relaxed);
  if (result) {
    bytes_.fetch_add(out.size(), std::memory_order_relaxed);
    latency_.add(Clock::now() - start);
  } else {
    count_error(result.error());
  }
  return result;
}

Result<void> ImageDevice::read(Sectors at, std::span<std::byte> out, const ReadContext& context) const {
  DADI_CHECK(still_wanted(context));
  if (Bytes{out.size()} > piece_ && (options_.computing != nullptr || options_.waiting != nullptr)) {
    DADI_TRY(const bool large, is_large(at, whole_sectors(out)));
    if (large) return read_in_pieces(*stack_, at, out, piece_, context, options_.computing, options_.waiting);
  }
  return stack_->read_at(at, out, context);
}

// Whether the range holds more data than a piece. Holes and zeros are filled in faster than a thread wakes up.
Result<bool> ImageDevice::is_large(Sectors at, Sectors length) const {
  Bytes data{};
  for (const Sectors end = at + length; at < end && data <= piece_;) {
    DADI_TRY(const Extent extent, stack_->next_extent(at));
    if (extent.kind == Extent::Kind::kData) data += to_bytes(std::min(extent.length, end - at));
    at += extent.length;
  }
  return data > piece_;
}

void ImageDevice::count_error(const Error& error) const {
  if (error.code() == ErrorCode::kWouldBlock || error.code() == ErrorCode::kCancelled) return;
  errors_.fetch_add(1, std::memory_order_relaxed);
  if (error.code() == ErrorCode::kCorruption) corruptions_.fetch_add(1, std::memory_order_relaxed);
  if (options_.on_error) options_.on_error(error);
}

DeviceStats ImageDevice::stats() const {
  DeviceStats stats;
  stats.latency = latency_.snapshot();
  stats.reads = stats.latency.count();
  stats.bytes = {bytes_.load(std::memory_order_relaxed)};
  stats.under_way = under_way_.load(std::memory_order_relaxed);
  stats.errors = errors_.load(std::memory_order_relaxed);
  stats.corruptions = corruptions_.load(std::memory_order_relaxed);
  stats.cache = cache_->stats();
  return stats;
}

}  // namespace dadi::runtime
