#include "libconvert/oci/media_types.h"

#include <array>

namespace dadi::oci {

namespace {

struct KnownLayer {
  std::string_view base;
  bool foreign;
};

constexpr std::array kLayers{
    KnownLayer{"application/vnd.oci.image.layer.nondistributable.v1.tar", true},
    KnownLayer{"application/vnd.docker.image.rootfs.foreign.diff.tar", true},
    KnownLayer{kOciLayer, false},
    KnownLayer{kDockerLayer, false},
};

}  // namespace

bool is_index(std::string_view media_type) {
  return media_type == kOciIndex || media_type == kDockerIndex;
}
bool is_manifest(std::string_view media_type) {
  return media_type == kOciManifest || media_type == kDockerManifest;
}
bool is_image_config(std::string_view media_type) {
  return media_type == kOciConfig || media_type == kDockerConfig;
}
bool is_docker_schema1(std::string_view media_type) {
  return media_type == "application/vnd.docker.distribution.manifest.v1+json" ||
         media_type == "application/vnd.docker.distribution.manifest.v1+prettyjws";
}
Family family_of(std::string_view media_type) {
  return media_type == kDockerIndex || media_type == kDockerManifest ? Family::kDocker : Family::kOci;
}

std::optional<LayerType> parse_layer_type(std::string_view media_type) {
  constexpr std::string_view kEncrypted = "+encrypted";
  LayerType type;
  if (media_type.ends_with(kEncrypted)) {
    type.encrypted = true;
    media_type.remove_suffix(kEncrypted.size());
  }
  for (const KnownLayer& known : kLayers) {
    if (!media_type.starts_with(known.base)) continue;
    const std::string_view suffix = media_type.substr(known.base.size());
    type.foreign = known.foreign;
    if (suffix.empty()) return type;
    if (suffix == "+gzip" || suffix == ".gzip") return type.compression = LayerCompression::kGzip, type;
    if (suffix == "+zstd" || suffix == ".zstd") return type.compression = LayerCompression::kZstd, type;
  }
  return std::nullopt;
}

}  // namespace dadi::oci
