#include "apps/image/image_place.h"

#include <filesystem>

namespace dadi {

using Json = nlohmann::ordered_json;

ImagePlace place_of(oci::Reference reference, const std::optional<Digest>& manifest, const std::string& platform,
                    const ImageReach& reach) {
  for (auto& file : reference.files) file = std::filesystem::absolute(file).lexically_normal();
  reference.guessed = false;
  if (manifest) {
    reference.tag.clear();
    reference.digest = manifest;
  }
  return {.reference = std::move(reference), .platform = platform, .reach = reach};
}

Json to_json(const ImagePlace& place) {
  Json json{{"reference", place.reference.to_string()}, {"platform", place.platform}};
  if (place.reference.kind == oci::Reference::Kind::kRegistry || !place.reach.on_top.empty())
    json["reach"] = to_json(place.reach);
  return json;
}

Result<ImagePlace> image_place_of(const Json& json) try {
  ImagePlace place;
  DADI_TRY(place.reference, oci::parse_reference(json.at("reference").get<std::string>()));
  place.platform = json.at("platform").get<std::string>();
  if (json.contains("reach")) {
    DADI_TRY(place.reach, image_reach_of(json.at("reach")));
  }
  return place;
} catch (const Json::exception& error) {
  return Error::corruption("where an image is: {}", error.what());
}

}  // namespace dadi
