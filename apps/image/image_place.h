// Where an image is, written down so that it, and no other, is found again later.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "apps/image/image_reach.h"
#include "libconvert/oci/reference.h"

namespace dadi {

// A value type.
struct ImagePlace {
  oci::Reference reference;  // with absolute paths; of an image with a manifest, that manifest's digest and no tag
  std::string platform;      // "": this machine's
  ImageReach reach;          // of an image on a registry
};

// `manifest`: what the reference stands for now; none of references without manifests.
ImagePlace place_of(oci::Reference reference, const std::optional<Digest>& manifest, const std::string& platform,
                    const ImageReach& reach);

// {"reference", "platform", "reach"}: no credentials, only where they are looked for.
nlohmann::ordered_json to_json(const ImagePlace& place);
// Errors: corruption.
Result<ImagePlace> image_place_of(const nlohmann::ordered_json& json);

}  // namespace dadi
