// From an OCI or Docker image to an image of block layers. What the result is: registry-image.md, sections 2.1 and 2.3;
// architecture.md, "Life of a conversion".
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "libconvert/layer_cache/conversion_cache.h"
#include "libconvert/oci/image.h"
#include "libconvert/oci/image_store.h"
#include "libconvert/oci/media_types.h"
#include "libformat/zfile/codec.h"
#include "libfs/archive_budget.h"

namespace dadi::pipeline {

inline constexpr Bytes kDefaultVirtualSize{std::uint64_t{64} << 30};

struct ConvertOptions {
  Bytes virtual_size = kDefaultVirtualSize;
  zfile::Options compression;
  std::optional<oci::Family> media_types;  // default: those of the source
  oci::SelectOptions select;
  fs::ArchiveLimits limits;                       // of each image
  unsigned jobs = 1;                              // threads that compress; changes no byte of the result
  layer_cache::ConversionCache* cache = nullptr;  // borrowed; changes no byte of the result
  bool referrer = false;  // the result refers to its source, of the same registry: media types are OCI's then
  std::stop_token stop;
};

struct ConvertedLayer {
  oci::Descriptor source;
  oci::Descriptor result;
  std::uint64_t entries = 0;
  std::uint64_t segments = 0;       // index records, zeroed ones included
  Bytes data;                       // uncompressed, in the block layer
  std::uint64_t clamped_times = 0;  // entries with times that ext4 cannot hold
  Bytes archive;                    // the source's layer, uncompressed
  bool cached = false;              // neither read nor converted now
};

struct ConvertedImage {
  oci::Platform platform;
  oci::Descriptor source;    // of the manifest
  oci::Descriptor manifest;  // of the result
  std::vector<ConvertedLayer> layers;
};

struct ConvertResult {
  oci::Descriptor root;  // what the tag stands for: an index when all platforms were converted, else a manifest
  std::vector<ConvertedImage> images;
};

// Whether a device may have that size. Errors: invalid_argument.
Result<void> check_virtual_size(Bytes size);

// Told what happens. Layers start in order and finish in order, several being under way at once. layer_read() comes
// from threads of the layers' own, between layer_started() and layer_finished(); everything else from the caller's.
class ConvertObserver {
 public:
  virtual ~ConvertObserver() = default;
  virtual void image_selected(const oci::SelectedImage& /*image*/) {}
  virtual void layer_started(std::size_t /*number*/, const oci::Descriptor& /*source*/) {}
  virtual void layer_read(std::size_t /*number*/, Bytes /*compressed*/) {}
  virtual void layer_finished(std::size_t /*number*/, const ConvertedLayer& /*layer*/) {}
  virtual void note(const std::string& /*text*/) {}
};

// Converts what `source` selected into `destination` and commits it there. Nothing is published unless all succeeded.
// Errors, with the layer as context: those of select(), of the layers' streams (corruption …) and of the planner;
// exhausted (the virtual size or its inodes: the entry that crossed is named, and the hint has a size that fits; the
// limits on what archives may hold);
// invalid_argument (options); unsupported (an image without layers, or one that is converted already).
Result<ConvertResult> convert(const oci::ImageSource& source, oci::ImageDestination& destination,
                              const ConvertOptions& options, ConvertObserver& observer);

}  // namespace dadi::pipeline
