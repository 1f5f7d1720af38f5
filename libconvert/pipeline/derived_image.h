// Images made of another one's block layers and more on top, which is what adding a trace, committing, building and
// flattening have in common.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "libconvert/oci/image.h"
#include "libconvert/oci/image_store.h"
#include "libconvert/pipeline/blob_copies.h"

namespace dadi::pipeline {

// A layer that the destination has already, because it was written there, and what the image's history says of it.
struct AddedLayer {
  oci::Descriptor descriptor;  // of a plain tar, whose digest is its diff id: block layers and acceleration layers are
  std::string created_by;      // for people: a command
  std::string comment = {};    // for people: why; "": nothing
};

// How an image differs from its base. A value type.
struct Derivation {
  // The base's lowest block layers that stay, of those that are no trace; none: all.
  std::optional<std::size_t> layers_kept = {};
  std::vector<AddedLayer> added = {};  // bottom first
  oci::ConfigChanges config = {};
};

struct DerivedImage {
  oci::Descriptor manifest;  // in the destination, which is not committed yet
  CopyCounts copied;         // of the base's layers
};

// Puts the image that `derivation` makes of `base` into `destination`: the base's layers that it keeps and that are not
// there yet, config and manifest. Committing the destination, which publishes it, is the caller's.
//
// A trace that the base carries says where reads of its device come first. It goes when there are other layers, with a
// note, and when a trace is added, which then is in its place. Media types and annotations are the base's. So is what
// it says it is another form of, unless it holds something else now. The bytes depend on the arguments alone.
//
// `source` is where `base` was selected, and only read for what the destination lacks.
// Errors: those of the stores and of ImageConfig::with_changes(); unsupported (the base is no image of block layers);
// exhausted (more layers than a device has room for); invalid_argument (more layers kept than there are); cancelled.
Result<DerivedImage> derive_image(const oci::ImageSource& source, const oci::SelectedImage& base,
                                  oci::ImageDestination& destination, const Derivation& derivation,
                                  CopyObserver& observer, const std::stop_token& stop);

// An image for `config`'s platform that has `layers` and no base. As derive_image(). Errors: those of the destination.
Result<oci::Descriptor> put_new_image(oci::ImageDestination& destination, const oci::ImageConfig& config,
                                      const std::vector<AddedLayer>& layers);

}  // namespace dadi::pipeline
