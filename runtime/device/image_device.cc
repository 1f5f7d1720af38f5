#include "runtime/device/image_device.h"

#include "runtime/device/read_limits.h"

namespace dadi::runtime {

ImageDevice::ImageDevice(std::unique_ptr<lsmt::StackReader> stack, DeviceOptions options)
    : stack_(std::move(stack)), options_(std::move(options)) {}

Result<std::unique_ptr<ImageDevice>> ImageDevice::open(std::vector<DeviceLayer> layers, DeviceOptions options,
                                                       const ReadContext& context) {
  DADI_TRY(std::vector<LayerFile> files, open_layers(layers, context));
  std::vector<lsmt::LayerReader> readers;
  std::vector<std::string> names;
  for (std::size_t i = 0; i < files.size(); ++i) {
    readers.push_back(std::move(files[i].layer));
    names.push_back(std::move(layers[i].name));
  }
  DADI_TRY(auto stack, lsmt::StackReader::open(std::move(readers), std::move(names)));
  return std::unique_ptr<ImageDevice>(new ImageDevice(std::move(stack), std::move(options)));
}

Result<void> ImageDevice::read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const {
  using Clock = std::chrono::steady_clock;
  const auto start = Clock::now();
  auto result = still_wanted(context);
  if (result) result = stack_->read_at(at, out, context);
  if (result) {
    bytes_.fetch_add(out.size(), std::memory_order_relaxed);
    latency_.add(Clock::now() - start);
  } else {
    count_error(result.error());
  }
  return result;
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
  stats.errors = errors_.load(std::memory_order_relaxed);
  stats.corruptions = corruptions_.load(std::memory_order_relaxed);
  return stats;
}

}  // namespace dadi::runtime
