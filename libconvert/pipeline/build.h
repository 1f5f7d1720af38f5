// Archives on top of a converted image's layers, each of which becomes one block layer more: written as a conversion
// writes it, without a mount. What is read of the base is what planning reads.
#pragma once

#include <string>
#include <vector>

#include "libconvert/oci/manifest.h"
#include "libconvert/pipeline/compression_workers.h"
#include "libconvert/pipeline/convert.h"
#include "libformat/blob/blob_reader.h"
#include "libformat/lsmt/layer_reader.h"

namespace dadi::pipeline {

// What is built upon. Borrowed.
struct BuildBase {
  const oci::Manifest& manifest;
  const std::vector<lsmt::LayerReader>& layers;  // its block layers, and maybe more on top of them, bottom first
  std::string_view chain;                        // what stands for them in a cache
};

// What stands for an image's layers, for a cache: their blobs, since uuids say nothing about how they were compressed,
// and those of other tools perhaps nothing at all.
std::string chain_of(const oci::Manifest& base);
// What stands for a layer and all that lies below it. `what`: a block layer's digest, or the diff id of its archive,
// which with what lies below decides what it is.
std::string chain_of(std::string_view below, const Digest& what);

// A layer's tar archive, compressed or not.
struct AddedArchive {
  std::string name;        // for people: "--add app.tar"
  std::string created_by;  // for the image's history
  SharedBlob archive;
  Digest diff_id;
};

// The virtual size of the topmost layer that states one; 0: none does.
Bytes device_size(const std::vector<lsmt::LayerReader>& layers);

// What an archive that may be compressed holds, by reading all of it. `progress` is called with the bytes read so far.
// Errors: corruption (what its compression says), exhausted (it holds more than `most`), those of the archive,
// cancelled.
Result<Digest> diff_id_of(const SharedBlob& archive, Bytes most, const std::stop_token& stop,
                          const std::function<void(Bytes)>& progress);

// Writes a layer for each archive, bottom first, into `destination`; an image of them is the caller's. The uuid of a
// layer is made of that of the layer below and of the diff id, so that the same archives on the same base give the same
// layers, in one build or in several. Of `options` select, media_types, referrer and virtual_size do not matter: the
// device is the base's. Errors, the archive named: those of convert(); exhausted (no room on the base's device, or for
// more layers); unsupported (a base that dadi does not change).
Result<std::vector<ConvertedLayer>> add_layers(const BuildBase& base, const std::vector<AddedArchive>& archives,
                                               oci::ImageDestination& destination, ConvertOptions options,
                                               CompressionWorkers& workers, ConvertObserver& observer);

}  // namespace dadi::pipeline
