// Images from store to store, as they are.
#pragma once

#include <optional>
#include <span>
#include <stop_token>

#include "libconvert/oci/image.h"
#include "libconvert/oci/image_store.h"
#include "libconvert/pipeline/blob_copies.h"

namespace dadi::pipeline {

struct CopyOptions {
  std::optional<oci::Platform> platform;  // default: this machine's
  bool all = false;                       // what the reference names as a whole, index and all
  // Put on top of a converted image as its acceleration layer, in place of one that is there: an encoded trace, or a
  // list of files. The copy is one image then. Empty: none.
  std::span<const std::byte> trace;
  std::stop_token stop;
};

struct CopyResult {
  oci::Descriptor root;
  CopyCounts blobs;
};

// Manifests keep their bytes, and so their digests, unless a trace is added. Blobs that the destination has are neither
// read nor written. Errors: those of the stores and of select(); unsupported (nested or branching beyond reason, schema
// 1; a trace on an ordinary image), invalid_argument (a trace on several images), cancelled.
Result<CopyResult> copy(const oci::ImageSource& source, oci::ImageDestination& destination, const CopyOptions& options,
                        CopyObserver& observer);

}  // namespace dadi::pipeline
