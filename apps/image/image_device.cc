#include "apps/image/image_device.h"

#include <future>

#include "apps/image/carried_trace.h"

namespace dadi {
namespace {

constexpr Bytes kReplayed{256U << 20};  // at most, of what is stored

using Reads = std::vector<trace::Read>;

}  // namespace

Result<OpenImage> open_image_device(const oci::Reference& reference, const std::string& platform,
                                    const ImageReach& reach, runtime::DeviceOptions options, const ReadContext& context,
                                    const Notes& notes) {
  DADI_TRY(FoundImage image, find_block_image(reference, platform, notes, reach));
  const bool replayed = image.trace && image.lazy && reach.lazy.replay && reach.lazy.cached && !options.recorder;
  options.accounted = replayed;
  std::future<Result<Reads>> trace;  // on its way while the layers are opened
  if (replayed)
    trace = std::async(std::launch::async, [&image] { return carried_trace(*image.stored->source, *image.trace); });
  std::vector<runtime::DeviceLayer> layers;
  for (FoundLayer& layer : image.layers) {
    if (layer.writable) {
      layers.push_back({std::move(layer.name), std::move(*layer.writable)});
    } else {
      layers.push_back({std::move(layer.name), std::move(layer.blob)});
    }
  }
  DADI_TRY(std::shared_ptr<runtime::ImageDevice> device,
           runtime::ImageDevice::open(std::move(layers), std::move(options), context));
  if (image.lazy) image.lazy->opened();
  std::unique_ptr<runtime::Replay> replay;
  if (replayed) {
    auto reads = trace.get();
    if (!reads) notes(fmt::format("the image's trace is not used: {}", reads.error().message()));
    if (reads) replay = std::make_unique<runtime::Replay>(device, std::move(*reads), kReplayed);
  }
  std::optional<Digest> manifest;
  std::optional<TraceOrigin> origin;
  if (image.stored) {
    manifest = image.stored->image.descriptor.digest;
    origin = origin_of(image.stored->image);
  }
  return OpenImage{.device = std::move(device),
                   .lazy = std::move(image.lazy),
                   .replay = std::move(replay),
                   .stored = std::move(image.stored),
                   .place = place_of(reference, manifest, platform, reach),
                   .origin = std::move(origin)};
}

nlohmann::ordered_json to_json(const runtime::Replay::Stats& stats) {
  return {{"planned", stats.planned.value}, {"fetched", stats.fetched.value}, {"failures", stats.failures},
          {"hits", stats.use.hits.value},   {"late", stats.use.late.value},   {"wasted", stats.use.wasted.value}};
}

Result<void> write_recording(const runtime::Recorder& recorder, const std::filesystem::path& path,
                             const std::optional<TraceOrigin>& origin) {
  DADI_CHECK(write_trace(path, trace::without_repeats(recorder.reads()), origin));
  return {};
}

Result<ImageReach> reach_of(const attach::DeviceSpec& spec) {
  if (spec.reach.is_null()) return ImageReach{};
  return image_reach_of(spec.reach);
}

}  // namespace dadi
