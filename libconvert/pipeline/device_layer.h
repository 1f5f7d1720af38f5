// A block layer from what a device holds: how what was written to an image, a whole image, or a disk becomes a layer.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "libconvert/oci/image_store.h"
#include "libconvert/oci/media_types.h"
#include "libconvert/pipeline/compression_workers.h"
#include "libformat/blob/block_reader.h"
#include "libformat/lsmt/layer_writer.h"
#include "libformat/lsmt/sector_set.h"

namespace dadi::pipeline {

// Told how many bytes are done; by the thread that works.
using BytesDone = std::function<void(Bytes)>;

// What a device holds differently than the one below it, in blocks of 4 KiB, aligned. A block that equals that below is
// no change; one of zeros is a zeroed run. So the changes are those between two contents, whatever was written on the
// way from one to the other. Memory: 24 bytes a run.
class DeviceChanges {
 public:
  struct Run {
    Sectors at;
    Sectors length;
    bool zeroed = false;
  };

  // Compares the blocks that have sectors in `written`; all others are known to be the same. What lies beyond the end
  // of `below`, which is null where there is none, is zeros. Where both say that they hold none, no data is read.
  // `done` counts in the sectors of `written`. Errors: those of the devices; exhausted (more runs than a layer has room
  // for); cancelled.
  static Result<DeviceChanges> find(const BlockReader& device, const BlockReader* below, const lsmt::SectorSet& written,
                                    const ReadContext& context, const BytesDone& done);

  bool empty() const { return runs_.empty(); }
  Bytes data() const { return to_bytes(data_); }       // in runs that are not zeroed
  std::span<const Run> runs() const { return runs_; }  // in order; neighbours differ in kind, or do not touch
  const Digest& content() const { return content_; }   // of where the changes are, and what is there now

 private:
  DeviceChanges(std::vector<Run> runs, Sectors data, const Digest& content)
      : runs_(std::move(runs)), data_(data), content_(content) {}

  std::vector<Run> runs_;
  Sectors data_;
  Digest content_;
};

// All of a device.
lsmt::SectorSet all_sectors(const BlockReader& device);

struct DeviceLayerOptions {
  lsmt::Uuid parent{};       // of the layer below; null: none
  std::string message = {};  // the layer's user tag, cut to what has room there
  oci::Family family = oci::Family::kOci;
  // Called once the device has been read to the end, with the name of the layer: it may change from then on. A failure
  // is that of the whole.
  std::function<Result<void>(const lsmt::Uuid&)> all_read = [](const lsmt::Uuid&) -> Result<void> { return {}; };
};

struct DeviceLayer {
  oci::Descriptor descriptor;
  lsmt::Uuid uuid;  // made of the changes and the parent
  lsmt::LayerWriter::Summary summary;
};

// Writes the changes as a blob into `destination`. The bytes depend on the changes, the device's size, the options and
// how `workers` compress. Memory: 1 MiB, and the workers'. `done` counts in changes.data().
// REQUIRES: `device` is what the changes were found in, and holds the same until all of it was read.
// Errors: those of the device and the destination; exhausted (more records than a layer has room for); cancelled.
Result<DeviceLayer> write_device_layer(const BlockReader& device, const DeviceChanges& changes,
                                       const DeviceLayerOptions& options, oci::ImageDestination& destination,
                                       CompressionWorkers& workers, const ReadContext& context, const BytesDone& done);

}  // namespace dadi::pipeline
