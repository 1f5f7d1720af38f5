// The media types of images, and the two families they come in.
#pragma once

#include <optional>
#include <string_view>

namespace dadi::oci {

inline constexpr std::string_view kOciIndex = "application/vnd.oci.image.index.v1+json";
inline constexpr std::string_view kOciManifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view kOciConfig = "application/vnd.oci.image.config.v1+json";
inline constexpr std::string_view kOciLayer = "application/vnd.oci.image.layer.v1.tar";
inline constexpr std::string_view kDockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json";
inline constexpr std::string_view kDockerManifest = "application/vnd.docker.distribution.manifest.v2+json";
inline constexpr std::string_view kDockerConfig = "application/vnd.docker.container.image.v1+json";
inline constexpr std::string_view kDockerLayer = "application/vnd.docker.image.rootfs.diff.tar";

// Who named the types: decides which ones a converted image gets.
enum class Family { kOci, kDocker };

constexpr std::string_view index_type(Family f) {
  return f == Family::kOci ? kOciIndex : kDockerIndex;
}
constexpr std::string_view manifest_type(Family f) {
  return f == Family::kOci ? kOciManifest : kDockerManifest;
}
constexpr std::string_view config_type(Family f) {
  return f == Family::kOci ? kOciConfig : kDockerConfig;
}
constexpr std::string_view layer_type(Family f) {
  return f == Family::kOci ? kOciLayer : kDockerLayer;
}  // plain tar

bool is_index(std::string_view media_type);
bool is_manifest(std::string_view media_type);
bool is_image_config(std::string_view media_type);
bool is_docker_schema1(std::string_view media_type);
// REQUIRES: is_index() or is_manifest().
Family family_of(std::string_view media_type);

enum class LayerCompression { kNone, kGzip, kZstd };

// What the media type of a layer says. Content may still differ: whoever reads it looks at its first bytes.
struct LayerType {
  LayerCompression compression = LayerCompression::kNone;
  bool encrypted = false;  // "+encrypted"
  bool foreign = false;    // not distributable: Windows base layers and their like
};

// None: not a layer type that is known.
std::optional<LayerType> parse_layer_type(std::string_view media_type);

}  // namespace dadi::oci
