#include "libconvert/oci/docker_archive.h"

#include <algorithm>
#include <map>

#include "libconvert/oci/config.h"
#include "libconvert/oci/json.h"
#include "libconvert/oci/layout_source.h"
#include "libconvert/oci/manifest.h"
#include "libconvert/oci/verified_source.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/memory_blob.h"

namespace dadi::oci {

namespace {

constexpr std::size_t kMaxImages = 1000;
constexpr std::size_t kMaxLayers = 1000;  // the block format has room for 255

// An entry of manifest.json. All names are those of members.
struct SavedImage {
  std::vector<std::string> tags;
  std::vector<std::string> layers;
  std::string config;
};

class DockerArchiveSource final : public ImageSource {
 public:
  DockerArchiveSource(Descriptor root, std::map<Digest, SharedBlob> blobs)
      : root_(std::move(root)), blobs_(std::move(blobs)) {}

  const Descriptor& root() const override { return root_; }

  Result<SharedBlob> open_blob(const Descriptor& descriptor) const override {
    const auto at = blobs_.find(descriptor.digest);
    if (at == blobs_.end())
      return Error::not_found("blob {} is missing from the archive", descriptor.digest.to_string());
    if (at->second->size() != descriptor.size)
      return Error::corruption("blob {} has {} bytes, its descriptor says {}", descriptor.digest.to_string(),
                               at->second->size().value, descriptor.size.value);
    return at->second;
  }

 private:
  Descriptor root_;
  std::map<Digest, SharedBlob> blobs_;
};

Result<std::vector<SavedImage>> read_images(const TarTree& tree) {
  DADI_TRY(const auto bytes, read_file(tree, kDockerArchiveFile, kIndexLimit));
  DADI_TRY(const Json json, parse_json(bytes).context("manifest.json"));
  if (!json.is_array()) return Error::corruption("manifest.json is not a list of images");
  if (json.size() > kMaxImages) return Error::unsupported("an archive of {} images", json.size());
  std::vector<SavedImage> images;
  for (const Json& item : json) {
    DADI_TRY(const JsonObject entry, JsonObject::of(item, fmt::format("manifest.json: image {}", images.size())));
    SavedImage image;
    DADI_TRY(image.config, entry.required_text("Config"));
    DADI_TRY(image.tags, entry.texts("RepoTags"));
    DADI_TRY(image.layers, entry.texts("Layers"));
    if (image.layers.size() > kMaxLayers) return Error::unsupported("an image of {} layers", image.layers.size());
    images.push_back(std::move(image));
  }
  return images;
}

// Whether two names mean the same image by the usual defaults.
bool same_name(const std::string& a, const std::string& b) {
  if (a == b) return true;
  const auto left = parse_registry_name(a);
  const auto right = parse_registry_name(b);
  return left && right && *left == *right;
}

Result<bool> is_wanted(const TarTree& tree, const SavedImage& image, const Reference& reference) {
  if (reference.digest) {
    DADI_TRY(const auto config, read_file(tree, image.config, kConfigLimit));
    return Digest::of(config) == *reference.digest;
  }
  return reference.tag.empty() ||
         std::ranges::any_of(image.tags, [&](const std::string& tag) { return same_name(tag, reference.tag); });
}

Result<const SavedImage*> find_image(const TarTree& tree, const std::vector<SavedImage>& images,
                                     const Reference& reference) {
  std::vector<const SavedImage*> matches;
  std::string names;
  for (const SavedImage& image : images) {
    for (const std::string& tag : image.tags) names += (names.empty() ? "" : ", ") + tag;
    DADI_TRY(const bool wanted, is_wanted(tree, image, reference));
    if (wanted) matches.push_back(&image);
  }
  if (matches.size() == 1) return matches.front();
  if (names.empty()) names = "without names";
  if (images.empty()) return Error::not_found("there is no image");
  if (matches.empty())
    return Error::not_found("there is no image \"{}\"",
                            reference.digest ? reference.digest->to_string() : reference.tag)
        .with_hint("the images there: {}", names);
  return Error::invalid_argument("there are {} images", matches.size())
      .with_hint("add a name (or @ and an image id) to the reference: {}", names);
}

Result<Digest> hash(const SharedBlob& blob) {
  BlobStream stream(blob);
  Hasher hasher;
  for (;;) {
    DADI_TRY(const auto piece, stream.next());
    if (piece.empty()) return hasher.finish();
    hasher.update(piece);
  }
}

// The descriptor of a layer. Its compression shows in its first bytes only.
Result<Descriptor> describe_layer(const SharedBlob& blob, const std::string& name, const Digest& diff_id) {
  std::array<std::byte, 4> start{};
  const std::size_t known = std::min<std::uint64_t>(start.size(), blob->size().value);
  DADI_CHECK(blob->read_at({0}, std::span(start).first(known)));
  Descriptor layer{.media_type = std::string(kDockerLayer), .digest = diff_id, .size = blob->size()};
  if (as_text(start).starts_with("\x1f\x8b")) layer.media_type += ".gzip";
  if (as_text(start) == "\x28\xb5\x2f\xfd") layer.media_type += ".zstd";
  if (layer.media_type == kDockerLayer) return layer;
  // Archives that are layouts too name their blobs by digest. Whoever reads the layer verifies it.
  constexpr std::string_view kBlobs = "blobs/sha256/";
  if (name.starts_with(kBlobs))
    if (const auto named = Digest::parse("sha256:" + name.substr(kBlobs.size()))) return layer.digest = *named, layer;
  DADI_TRY(layer.digest, hash(blob));
  return layer;
}

}  // namespace

Result<std::unique_ptr<ImageSource>> open_docker_archive(std::unique_ptr<TarTree> tree, const Reference& reference) {
  DADI_TRY(const auto images, read_images(*tree));
  DADI_TRY(const SavedImage* image, find_image(*tree, images, reference));
  DADI_TRY(auto config_bytes, read_file(*tree, image->config, kConfigLimit));
  DADI_TRY(const ImageConfig config, ImageConfig::parse(config_bytes));
  if (config.diff_ids().size() != image->layers.size())
    return Error::corruption("the image has {} layers, its config has {} diff ids", image->layers.size(),
                             config.diff_ids().size());
  std::map<Digest, SharedBlob> blobs;
  const auto keep = [&](std::string_view media_type, std::vector<std::byte> bytes) {
    Descriptor descriptor{.media_type = std::string(media_type), .digest = Digest::of(bytes), .size = {bytes.size()}};
    blobs.emplace(descriptor.digest, std::make_shared<MemoryBlob>(std::move(bytes)));
    return descriptor;
  };
  Manifest manifest{.media_type = std::string(kDockerManifest),
                    .artifact_type = {},
                    .config = keep(kDockerConfig, std::move(config_bytes)),
                    .layers = {},
                    .subject = {},
                    .annotations = {}};
  for (std::size_t i = 0; i < image->layers.size(); ++i) {
    const std::string& name = image->layers[i];
    DADI_TRY(SharedBlob blob, tree->open(name).context("layer {}", i + 1));
    DADI_TRY(Descriptor layer, describe_layer(blob, name, config.diff_ids()[i]).context("layer {} ({})", i + 1, name));
    blobs.emplace(layer.digest, std::move(blob));
    manifest.layers.push_back(std::move(layer));
  }
  const std::string json = manifest.to_json();
  const auto bytes = as_bytes(json);
  Descriptor root = keep(kDockerManifest, {bytes.begin(), bytes.end()});
  return std::unique_ptr<ImageSource>(std::make_unique<DockerArchiveSource>(std::move(root), std::move(blobs)));
}

}  // namespace dadi::oci
