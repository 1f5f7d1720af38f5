// From a reference to a device for many readers: what `dadi serve` and dadid serve.
#pragma once

#include "apps/image/block_image.h"
#include "apps/image/image_place.h"
#include "apps/image/trace_origin.h"
#include "runtime/attach/records.h"
#include "runtime/device/image_device.h"
#include "runtime/device/replay.h"

namespace dadi {

struct OpenImage {
  std::shared_ptr<runtime::ImageDevice> device;
  std::shared_ptr<LazyBlobs> lazy;            // of an image on a registry
  std::unique_ptr<runtime::Replay> replay;    // of one whose trace is wanted, if it has any
  std::shared_ptr<const StoredImage> stored;  // its manifest and config; none for layers: and config:
  ImagePlace place;                           // where this one is found again
  std::optional<TraceOrigin> origin;          // of what is recorded; none for layers: and config:
};

// {"planned", "fetched", "failures", "hits", "late", "wasted"}: bytes, and pieces that were not fetched; what became of
// what was fetched, as PrefetchAccount::Sums says it.
nlohmann::ordered_json to_json(const runtime::Replay::Stats& stats);

// Writes what was read of the device so far as a trace, each byte once, as write_trace(). Errors: those.
Result<void> write_recording(const runtime::Recorder& recorder, const std::filesystem::path& path,
                             const std::optional<TraceOrigin>& origin);

// The trace of an image on a registry, on top of it or beside it, is replayed, unless the reach says otherwise or the
// device is recorded. It is looked for meanwhile: opening does not wait for that, nor fail because of it. One that
// cannot be used is noted, later and by another thread, so `notes` must be good for as long as the replay is. Errors:
// those of find_block_image() and ImageDevice::open().
Result<OpenImage> open_image_device(const oci::Reference& reference, const std::string& platform,
                                    const ImageReach& reach, runtime::DeviceOptions options, const ReadContext& context,
                                    const Notes& notes);

// What `dadi attach` has left for dadid of how the image is reached. Errors: corruption.
Result<ImageReach> reach_of(const attach::DeviceSpec& spec);

}  // namespace dadi
