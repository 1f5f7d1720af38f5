// Finding the image for a platform behind what a reference names.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libconvert/oci/config.h"
#include "libconvert/oci/image_store.h"
#include "libconvert/oci/manifest.h"

namespace dadi::oci {

// One image: its manifest and config were read, verified against their digests, and agree on the number of layers.
struct SelectedImage {
  Descriptor descriptor;  // of the manifest, as the index has it
  Manifest manifest;
  ImageConfig config;
  Platform platform;  // as the index says, else as the config does
};

struct SelectOptions {
  std::optional<Platform> platform;  // default: this machine's
  bool all = false;                  // every platform's image
  // Refuse what has no meaning as a block device: encrypted and foreign layers, other systems than Linux (with `all`,
  // the latter are left out, with a note).
  bool for_conversion = true;
};

struct Selection {
  std::vector<SelectedImage> images;  // at least one; in the index's order, nested indexes flattened
  std::optional<Index> index;         // the root, when that is an index
  std::vector<std::string> notes;     // for people: what was left out, what was assumed
};

// Errors: not_found (no image for the platform: the hint lists those there are), corruption (a digest, a size, a
// document or the number of layers is wrong), unsupported (not an image; a kind of layer that is refused, named;
// indexes nested or branching beyond reason), exhausted (more than 64 MiB of manifests and configs).
Result<Selection> select(const ImageSource& source, const SelectOptions& options = {});

}  // namespace dadi::oci
