// Converted layers in a store of images: a manifest under a tag lists them, which also keeps them alive there.
#pragma once

#include <string>
#include <vector>

#include "libconvert/layer_cache/kept_layer.h"
#include "libconvert/oci/image_store.h"

namespace dadi::layer_cache {

inline constexpr char kListArtifactType[] = "application/vnd.dadi.layer-cache.v1";
inline constexpr std::size_t kMostListed = 4000;  // what came earliest is left out, and so is not kept alive

// Those that can be understood. Errors: unsupported (another kind of manifest), those of the store.
Result<std::vector<KeptLayer>> read_list(const oci::ImageSource& source);

// `added`, and of `before` what has other keys, at most kMostListed.
std::vector<KeptLayer> merge_lists(std::vector<KeptLayer> added, const std::vector<KeptLayer>& before);

// Writes the manifest and commits. REQUIRES: the blobs were created in `destination`, or are there.
Result<void> write_list(const std::vector<KeptLayer>& layers, oci::ImageDestination& destination);

}  // namespace dadi::layer_cache
