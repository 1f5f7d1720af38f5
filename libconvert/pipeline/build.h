// An image of a converted image's layers and of archives on top, each of which becomes one block layer more: written as
// a conversion writes it, without a mount. What is read of the base is what planning reads.
#pragma once

#include <string>
#include <vector>

#include "libconvert/oci/config.h"
#include "libconvert/pipeline/blob_copies.h"
#include "libconvert/pipeline/convert.h"
#include "libformat/blob/blob_reader.h"
#include "libformat/lsmt/layer_reader.h"

namespace dadi::pipeline {

// What is built upon. Borrowed.
struct BuildBase {
  const oci::ImageSource& source;
  const oci::SelectedImage& image;               // in `source`
  const std::vector<lsmt::LayerReader>& layers;  // its block layers, bottom first
};

// A layer's tar archive, compressed or not.
struct AddedArchive {
  std::string name;        // for people: "--add app.tar"
  std::string created_by;  // for the image's history
  SharedBlob archive;
  Digest diff_id;
};

struct Build {
  std::vector<AddedArchive> archives;  // bottom first
  std::string comment;                 // for the image's history, of every layer that is added
  oci::ConfigChanges config;
};

struct BuildResult {
  oci::Descriptor manifest;
  std::vector<ConvertedLayer> layers;  // that were added
  CopyCounts copied;                   // of the base's
};

// The virtual size of the topmost layer that states one; 0: none does.
Bytes device_size(const std::vector<lsmt::LayerReader>& layers);

// What an archive that may be compressed holds, by reading all of it. `progress` is called with the bytes read so far.
// Errors: corruption (what its compression says), exhausted (it holds more than `most`), those of the archive,
// cancelled.
Result<Digest> diff_id_of(const SharedBlob& archive, Bytes most, const std::stop_token& stop,
                          const std::function<void(Bytes)>& progress);

// Builds the image in `destination` and commits it there. Nothing is published unless all succeeded. The uuid of a
// layer is made of that of the layer below and of the diff id, so that the same archives on the same base give the same
// layers, in one build or in several. Of `options` select, media_types, referrer and virtual_size do not matter: the
// device is the base's. Errors, the archive named: those of convert() and derive_image(); exhausted (no room on the
// base's device, or for more layers); unsupported (a base that dadi does not change).
Result<BuildResult> build(const BuildBase& base, const Build& build, oci::ImageDestination& destination,
                          ConvertOptions options, ConvertObserver& observer, CopyObserver& copying);

}  // namespace dadi::pipeline
