#include "apps/image/image_device.h"

#include <future>

#include "apps/image/carried_trace.h"

namespace dadi {
namespace {

constexpr Bytes kReplayed{256U << 20};  // at most, of what is stored

// An image's trace, looked for and fetched while the image is opened and after: who starts does not wait for it. Ends,
// soon, with this object. One thread.
class TraceOnItsWay {
 public:
  TraceOnItsWay(std::shared_ptr<const StoredImage> image, std::shared_ptr<const LazyBlobs> lazy, Notes notes)
      : image_(std::move(image)),
        lazy_(std::move(lazy)),
        notes_(std::move(notes)),
        fetched_(std::async(std::launch::async, [this] { return fetch(); })) {}
  ~TraceOnItsWay() { stop_.request_stop(); }
  TraceOnItsWay(const TraceOnItsWay&) = delete;
  TraceOnItsWay& operator=(const TraceOnItsWay&) = delete;

  // Waits for it. None: there is none, or none that can be used, which is noted. Call once.
  std::optional<std::vector<trace::Read>> take(const std::stop_token& stop) {
    const std::stop_callback pass_on(stop, [this] { stop_.request_stop(); });
    auto reads = fetched_.get();
    if (reads) return std::move(*reads);
    if (!stop.stop_requested()) notes_(fmt::format("the image's trace is not used: {}", reads.error().message()));
    return {};
  }

 private:
  Result<std::optional<std::vector<trace::Read>>> fetch() const {
    const ReadContext context{.stop = stop_.get_token(), .read_class = ReadClass::kPrefetch};
    DADI_TRY(const auto found, find_trace(*image_, context));
    if (!found || found->artifact) DADI_CHECK(remember());
    if (!found) return std::optional<std::vector<trace::Read>>();
    DADI_TRY(auto reads, read_trace(*image_->source, *found, context));
    return std::optional(std::move(reads));
  }

  // That the registry was asked: with this answer the image is started here, and has what a start reads from then on.
  Result<void> remember() const {
    const oci::Descriptor& manifest = image_->image.descriptor;
    DADI_TRY(auto document, oci::read_document(*image_->source, manifest, oci::kManifestLimit));
    lazy_->keep(manifest, std::move(document));
    return {};
  }

  const std::shared_ptr<const StoredImage> image_;
  const std::shared_ptr<const LazyBlobs> lazy_;
  const Notes notes_;
  std::stop_source stop_;
  std::future<Result<std::optional<std::vector<trace::Read>>>> fetched_;  // last: it ends first
};

}  // namespace

Result<OpenImage> open_image_device(const oci::Reference& reference, const std::string& platform,
                                    const ImageReach& reach, runtime::DeviceOptions options, const ReadContext& context,
                                    const Notes& notes) {
  DADI_TRY(FoundImage image, find_block_image(reference, platform, notes, reach));
  std::shared_ptr<const StoredImage> stored;
  std::optional<Digest> manifest;
  std::optional<TraceOrigin> origin;
  if (image.stored) {
    stored = std::make_shared<const StoredImage>(std::move(*image.stored));
    manifest = stored->image.descriptor.digest;
    origin = origin_of(stored->image);
  }
  const bool wanted =
      stored && image.lazy && reach.lazy.replay && reach.lazy.cached && reach.on_top.empty() && !options.recorder;
  const bool replayed = wanted && (trace_on_top(*stored) || !image.lazy->has_kept(stored->image.descriptor));
  options.accounted = replayed;
  std::shared_ptr<TraceOnItsWay> trace;
  if (replayed) trace = std::make_shared<TraceOnItsWay>(stored, image.lazy, notes);
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
  if (trace) {
    replay = std::make_unique<runtime::Replay>(
        device, [trace](const std::stop_token& stop) { return trace->take(stop); }, kReplayed);
  }
  return OpenImage{.device = std::move(device),
                   .lazy = std::move(image.lazy),
                   .replay = std::move(replay),
                   .stored = std::move(stored),
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
