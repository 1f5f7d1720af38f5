#include "libconvert/oci/image.h"

#include <algorithm>

#include "libconvert/oci/json.h"
#include "libformat/base/bytes.h"

namespace dadi::oci {

namespace {

constexpr int kMaxNesting = 8;
constexpr std::size_t kMaxIndexes = 100;     // read on the way
constexpr std::size_t kMaxManifests = 2000;  // found on the way
constexpr Bytes kAllDocuments{64 << 20};     // manifests and configs
constexpr std::size_t kMaxLayers = 255;      // of the block format

bool is_attestation(const Descriptor& descriptor) {
  return descriptor.annotation(kReferenceType) == kAttestationManifest ||
         (descriptor.platform && descriptor.platform->os == "unknown" &&
          descriptor.platform->architecture == "unknown");
}

std::string name_of(const Platform& platform) {
  return platform.os.empty() && platform.architecture.empty() ? "an unknown platform" : platform.to_string();
}

// The manifests below the root.
class Finder {
 public:
  Finder(const ImageSource& source, Selection& selection) : source_(source), selection_(selection) {}

  Result<std::vector<Descriptor>> run() {
    DADI_TRY(Descriptor root, known_type(source_.root()));
    if (is_manifest(root.media_type)) return std::vector{std::move(root)};
    DADI_CHECK(descend(root, 0));
    if (attestations_ > 0)
      note(fmt::format("left out {} attestation manifest{}", attestations_, attestations_ > 1 ? "s" : ""));
    return std::move(found_);
  }

 private:
  void note(std::string text) { selection_.notes.push_back(std::move(text)); }

  // Layouts may leave the root's media type out: then the document decides.
  Result<Descriptor> known_type(Descriptor root) {
    if (is_docker_schema1(root.media_type))
      return Error::unsupported("a manifest of Docker's schema 1")
          .with_hint("copy the image with a tool that converts it, e.g. skopeo copy --format v2s2");
    if (is_index(root.media_type) || is_manifest(root.media_type)) return root;
    if (!root.media_type.empty()) return Error::unsupported("\"{}\" is not an image", root.media_type.substr(0, 200));
    DADI_TRY(const auto bytes, read_document(source_, root, kManifestLimit));
    DADI_TRY(const Json json, parse_json(bytes).context("manifest {}", root.digest.to_string()));
    DADI_TRY(const JsonObject document, JsonObject::of(json, "manifest"));
    DADI_TRY(root.media_type, document.text("mediaType"));
    if (root.media_type.empty()) root.media_type = document.find("manifests") != nullptr ? kOciIndex : kOciManifest;
    if (!is_index(root.media_type) && !is_manifest(root.media_type))
      return Error::unsupported("\"{}\" is not an image", root.media_type.substr(0, 200));
    return root;
  }

  Result<void> descend(const Descriptor& descriptor, int depth) {
    if (depth == kMaxNesting) return Error::unsupported("indexes nested deeper than {}", kMaxNesting);
    if (++indexes_ > kMaxIndexes) return Error::unsupported("more than {} indexes", kMaxIndexes);
    DADI_TRY(const auto bytes, read_document(source_, descriptor, kManifestLimit));
    DADI_TRY(const Index index,
             Index::parse(bytes, descriptor.media_type).context("index {}", descriptor.digest.to_string()));
    if (depth == 0) selection_.index = index;
    for (const Descriptor& child : index.manifests) {
      if (is_attestation(child)) {
        ++attestations_;
      } else if (is_index(child.media_type)) {
        DADI_CHECK(descend(child, depth + 1));
      } else if (is_manifest(child.media_type)) {
        if (found_.size() == kMaxManifests) return Error::unsupported("more than {} manifests", kMaxManifests);
        found_.push_back(child);
      } else {
        note(fmt::format("left out {}: \"{}\" is not an image", child.digest.brief(), child.media_type.substr(0, 200)));
      }
    }
    return {};
  }

  const ImageSource& source_;
  Selection& selection_;
  std::vector<Descriptor> found_;
  std::size_t indexes_ = 0;
  std::size_t attestations_ = 0;
};

// Reads manifests and configs, and holds them against each other.
class Loader {
 public:
  explicit Loader(const ImageSource& source) : source_(source) {}

  Result<SelectedImage> load(const Descriptor& descriptor) {
    const std::string platform = descriptor.platform ? " (" + descriptor.platform->to_string() + ")" : "";
    return load_unnamed(descriptor).context("manifest {}{}", descriptor.digest.to_string(), platform);
  }

 private:
  Result<SelectedImage> load_unnamed(const Descriptor& descriptor) {
    DADI_TRY(const auto bytes, read_document(source_, descriptor, kManifestLimit));
    DADI_TRY(Manifest manifest, Manifest::parse(bytes, descriptor.media_type));
    if (!is_image_config(manifest.config.media_type))
      return Error::unsupported("an artifact, not an image: its config is \"{}\"",
                                manifest.config.media_type.substr(0, 200));
    DADI_TRY(const auto config_bytes, read_document(source_, manifest.config, kConfigLimit).context("config"));
    // Many manifests may share a config, so that little in the store would be much in memory.
    read_ += Bytes{bytes.size() + config_bytes.size()};
    if (read_ > kAllDocuments) return Error::exhausted("the index leads to more than {} bytes", kAllDocuments.value);
    DADI_TRY(ImageConfig config, ImageConfig::parse(config_bytes));
    if (manifest.layers.size() != config.diff_ids().size())
      return Error::corruption("the manifest has {} layers, the config {} diff ids", manifest.layers.size(),
                               config.diff_ids().size());
    Platform platform = descriptor.platform ? *descriptor.platform : config.platform();
    Descriptor described = descriptor;
    described.media_type = manifest.media_type;
    return SelectedImage{std::move(described), std::move(manifest), std::move(config), std::move(platform)};
  }

  const ImageSource& source_;
  Bytes read_;
};

Result<void> require_convertible(const SelectedImage& image) {
  if (!image.platform.os.empty() && normalized(image.platform).os != "linux")
    return Error::unsupported("an image for {}: only Linux's can be converted", image.platform.to_string());
  if (image.manifest.layers.empty()) return Error::unsupported("an image without layers");
  if (image.manifest.layers.size() > kMaxLayers)
    return Error::unsupported("an image of {} layers: a device has room for {}", image.manifest.layers.size(),
                              kMaxLayers);
  for (std::size_t i = 0; i < image.manifest.layers.size(); ++i) {
    const Descriptor& layer = image.manifest.layers[i];
    const auto type = parse_layer_type(layer.media_type);
    const auto refuse = [&](std::string_view why) {
      return Error::unsupported("layer {} ({}): {}", i + 1, layer.digest.to_string(), why);
    };
    if (type && type->encrypted)
      return refuse("encrypted").with_hint("decrypt the image first: skopeo copy --decryption-key KEY SRC DST");
    if (!type) return refuse(fmt::format("\"{}\" is not a layer of files", layer.media_type.substr(0, 200)));
    if (type->foreign || !layer.urls.empty()) return refuse("a foreign layer, which is not in the image's store");
  }
  return {};
}

Error no_match(const Platform& wanted, const std::vector<std::string>& there) {
  std::vector<std::string> names = there;
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return Error::not_found("there is no image for {}", wanted.to_string())
      .with_hint("the platforms there: {}", list.empty() ? "none" : list);
}

// The best of an index's images. Those whose platform the index does not tell are read to learn it.
Result<SelectedImage> best_match(Loader& loader, const std::vector<Descriptor>& found, const Platform& wanted,
                                 Selection& selection) {
  const Descriptor* best = nullptr;
  unsigned best_rank = 0;
  std::vector<std::string> there;
  for (const Descriptor& descriptor : found) {
    std::optional<Platform> platform = descriptor.platform;
    if (!platform) {
      auto image = loader.load(descriptor);
      if (!image && image.error().code() != ErrorCode::kUnsupported) return image;
      if (!image) {
        selection.notes.push_back("left out " + image.error().message());
        continue;
      }
      platform = image->platform;
    }
    there.push_back(name_of(*platform));
    const auto rank = match_rank(wanted, *platform);
    if (!rank || (best != nullptr && *rank >= best_rank)) continue;
    best = &descriptor;
    best_rank = *rank;
  }
  if (best == nullptr) return no_match(wanted, there);
  return loader.load(*best);
}

Result<void> select_all(Loader& loader, const std::vector<Descriptor>& found, bool for_conversion,
                        Selection& selection) {
  for (const Descriptor& descriptor : found) {
    auto image = loader.load(descriptor);
    if (!image && image.error().code() == ErrorCode::kUnsupported) {
      selection.notes.push_back("left out " + image.error().message());
      continue;
    }
    if (!image) return std::move(image).error();
    const std::string os = normalized(image->platform).os;
    if (for_conversion && !os.empty() && os != "linux") {
      selection.notes.push_back(
          fmt::format("left out {}: only Linux's images can be converted", image->platform.to_string()));
      continue;
    }
    selection.images.push_back(std::move(*image));
  }
  if (selection.images.empty()) return Error::not_found("there is no image in the index");
  return {};
}

// An image that stands alone is taken whatever it is for, unless a platform was asked for.
Result<SelectedImage> select_single(Loader& loader, const Descriptor& root, const std::optional<Platform>& wanted,
                                    Selection& selection) {
  DADI_TRY(SelectedImage image, loader.load(root));
  const bool matches = match_rank(wanted.value_or(host_platform()), image.platform).has_value();
  if (!matches && wanted) return no_match(*wanted, {name_of(image.platform)});
  if (!matches)
    selection.notes.push_back(fmt::format("the image is for {}, not for this machine", name_of(image.platform)));
  return image;
}

}  // namespace

Result<Selection> select(const ImageSource& source, const SelectOptions& options) {
  Selection selection;
  DADI_TRY(const auto found, Finder(source, selection).run());
  Loader loader(source);
  if (!selection.index) {
    const auto wanted = options.all ? std::nullopt : options.platform;
    DADI_TRY(SelectedImage image, select_single(loader, found.front(), wanted, selection));
    selection.images.push_back(std::move(image));
  } else if (options.all) {
    DADI_CHECK(select_all(loader, found, options.for_conversion, selection));
  } else {
    DADI_TRY(SelectedImage image, best_match(loader, found, options.platform.value_or(host_platform()), selection));
    selection.images.push_back(std::move(image));
  }
  if (options.for_conversion) {
    for (const SelectedImage& image : selection.images)
      DADI_CHECK(require_convertible(image).context("image {}", image.descriptor.digest.brief()));
  }
  return selection;
}

}  // namespace dadi::oci
