#include "runtime/device/layer_opening.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <optional>
#include <stop_token>
#include <system_error>
#include <thread>

#include "runtime/device/read_limits.h"

namespace dadi::runtime {

namespace {

// More than cores, since opening waits for disks and networks more than it computes.
constexpr std::size_t kMostThreads = 16;

Result<LayerFile> open_layer(DeviceLayer& layer, const ReadContext& context) {
  if (auto* opened = std::get_if<lsmt::LayerReader>(&layer.content))
    return LayerFile{.layer = std::move(*opened), .unwrapped = nullptr, .envelope = {}, .zfile = {}, .blocks = nullptr};
  DADI_CHECK(still_wanted(context).context("{}", layer.name));
  return open_layer_file(std::get<SharedBlob>(std::move(layer.content)), context).context("{}", layer.name);
}

}  // namespace

Result<std::vector<LayerFile>> open_layers(std::vector<DeviceLayer>& layers, const ReadContext& context) {
  std::stop_source stop;
  const std::stop_callback forward(context.stop, [&stop] { stop.request_stop(); });
  ReadContext stoppable = context;
  stoppable.stop = stop.get_token();

  std::vector<std::optional<Result<LayerFile>>> results(layers.size());
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < layers.size(); i = next++) {
      results[i] = open_layer(layers[i], stoppable);
      if (!*results[i]) stop.request_stop();
    }
  };
  {
    std::vector<std::jthread> threads;
    try {
      while (threads.size() + 1 < std::min(layers.size(), kMostThreads)) threads.emplace_back(work);
    } catch (const std::system_error&) {
      // The host gives no more threads; those that there are do it.
    }
    work();
  }

  // What failed first stopped the others: that is the error to tell.
  const auto failed = [&](bool stopped) {
    return std::find_if(results.begin(), results.end(), [&](const auto& result) {
      return !*result && (stopped || result->error().code() != ErrorCode::kCancelled);
    });
  };
  for (const bool stopped : {false, true})
    if (const auto failure = failed(stopped); failure != results.end()) return (*failure)->error();
  std::vector<LayerFile> files;
  for (auto& result : results) files.push_back(std::move(**result));
  return files;
}

}  // namespace dadi::runtime
