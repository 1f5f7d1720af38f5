#include "libconvert/layer_cache/layer_list.h"

#include <set>

#include "libconvert/oci/manifest.h"

namespace dadi::layer_cache {

namespace {

constexpr char kEmptyType[] = "application/vnd.oci.empty.v1+json";  // image-spec, manifest.md

}  // namespace

Result<std::vector<KeptLayer>> read_list(const oci::ImageSource& source) {
  oci::Descriptor root = source.root();
  if (root.media_type.empty()) root.media_type = oci::kOciManifest;
  if (!oci::is_manifest(root.media_type)) return Error::unsupported("an index, not a list of converted layers");
  DADI_TRY(const auto bytes, oci::read_document(source, root, oci::kManifestLimit));
  DADI_TRY(const oci::Manifest manifest, oci::Manifest::parse(bytes, root.media_type));
  if (manifest.artifact_type != kListArtifactType)
    return Error::unsupported("an image or something else, not a list of converted layers")
        .with_hint("give the cache a tag of its own");
  std::vector<KeptLayer> layers;
  for (const oci::Descriptor& descriptor : manifest.layers)
    if (auto layer = parse_kept_layer(descriptor)) layers.push_back(std::move(*layer));
  return layers;
}

std::vector<KeptLayer> merge_lists(std::vector<KeptLayer> added, const std::vector<KeptLayer>& before) {
  std::set<Digest> keys;
  for (const KeptLayer& layer : added) keys.insert(layer.key);
  for (const KeptLayer& layer : before)
    if (keys.insert(layer.key).second) added.push_back(layer);
  if (added.size() > kMostListed) added.erase(added.begin() + kMostListed, added.end());
  return added;
}

Result<void> write_list(const std::vector<KeptLayer>& layers, oci::ImageDestination& destination) {
  DADI_TRY(const oci::Descriptor config, oci::put_document(destination, "{}", kEmptyType));
  oci::Manifest manifest{.media_type = std::string(oci::kOciManifest),
                         .artifact_type = kListArtifactType,
                         .config = config,
                         .layers = {},
                         .subject = {},
                         .annotations = {}};
  for (const KeptLayer& layer : layers) manifest.layers.push_back(describe(layer));
  DADI_TRY(const oci::Descriptor root, oci::put_document(destination, manifest.to_json(), manifest.media_type));
  return destination.commit(root);
}

}  // namespace dadi::layer_cache
