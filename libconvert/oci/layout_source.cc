#include "libconvert/oci/layout_source.h"

#include <algorithm>
#include <functional>
#include <set>

#include "libconvert/oci/json.h"
#include "libformat/base/bytes.h"

namespace dadi::oci {

namespace {

class LayoutSource final : public ImageSource {
 public:
  // `artifacts`: those of index.json's entries that say of which type they are.
  LayoutSource(std::unique_ptr<FileTree> tree, Descriptor root, std::vector<Descriptor> artifacts)
      : tree_(std::move(tree)), root_(std::move(root)), artifacts_(std::move(artifacts)) {}

  const Descriptor& root() const override { return root_; }

  Result<SharedBlob> open_blob(const Descriptor& descriptor) const override {
    auto blob = tree_->open(blob_path(descriptor.digest));
    if (!blob && blob.error().code() == ErrorCode::kNotFound)
      return Error::not_found("blob {} is missing from the image's store", descriptor.digest.to_string());
    if (!blob) return std::move(blob).context("blob {}", descriptor.digest.brief());
    if ((*blob)->size() != descriptor.size)
      return Error::corruption("blob {} has {} bytes, its descriptor says {}", descriptor.digest.to_string(),
                               (*blob)->size().value, descriptor.size.value);
    return blob;
  }

  // A damaged one refers to nothing.
  Result<std::vector<Descriptor>> referrers(const Digest& subject, std::string_view artifact_type,
                                            const ReadContext& context) const override {
    std::vector<Descriptor> found;
    for (const Descriptor& artifact : artifacts_) {
      if (artifact.artifact_type != artifact_type) continue;
      const auto bytes = read_document(*this, artifact, kManifestLimit, context);
      if (!bytes) continue;
      const auto manifest = Manifest::parse(*bytes, artifact.media_type);
      if (!manifest || !manifest->subject || manifest->subject->digest != subject) continue;
      found.push_back(artifact);
      found.back().annotations = manifest->annotations;
    }
    return found;
  }

 private:
  std::unique_ptr<FileTree> tree_;
  Descriptor root_;
  std::vector<Descriptor> artifacts_;
};

// What has no name and says that it is something else is found through what it refers to.
bool is_artifact(const Descriptor& descriptor) {
  return !descriptor.artifact_type.empty() && descriptor.annotation(kRefName).empty();
}

bool is_tagged(const Descriptor& descriptor, const std::string& tag) {
  return descriptor.annotation(kRefName) == tag || descriptor.annotation(kContainerdName) == tag;
}

// For an error's hint: what there is to choose from.
std::string list_images(const Index& index) {
  constexpr std::size_t kMost = 20;
  std::set<std::string> names;
  for (const Descriptor& descriptor : index.manifests) {
    if (is_artifact(descriptor)) continue;
    const std::string& tag = descriptor.annotation(kRefName);
    names.insert(tag.empty() ? "@" + descriptor.digest.to_string() : tag);
  }
  std::string list;
  std::size_t count = 0;
  for (const std::string& name : names) {
    if (++count > kMost) return list + fmt::format(" and {} more", names.size() - kMost);
    list += (list.empty() ? "" : ", ") + name;
  }
  return list.empty() ? "none" : list;
}

// A manifest that index.json does not list itself, but an index below it perhaps does.
Result<Descriptor> describe(const FileTree& tree, const Digest& digest) {
  auto bytes = read_file(tree, blob_path(digest), kManifestLimit);
  if (!bytes) return std::move(bytes).error().context("manifest {}", digest.to_string());
  DADI_TRY(const Json json, parse_json(*bytes).context("manifest {}", digest.to_string()));
  DADI_TRY(const JsonObject document, JsonObject::of(json, "manifest"));
  DADI_TRY(std::string media_type, document.text("mediaType"));
  if (media_type.empty()) media_type = document.find("manifests") != nullptr ? kOciIndex : kOciManifest;
  return Descriptor{.media_type = std::move(media_type), .digest = digest, .size = {bytes->size()}};
}

Result<Descriptor> find_root(const FileTree& tree, const Index& index, const Reference& reference) {
  if (reference.digest) {
    const auto at = std::ranges::find(index.manifests, *reference.digest, &Descriptor::digest);
    if (at != index.manifests.end()) return *at;
    return describe(tree, *reference.digest).with_hint("the images there: {}", list_images(index));
  }
  std::vector<Descriptor> matches;
  for (const Descriptor& descriptor : index.manifests) {
    if (reference.tag.empty() ? is_artifact(descriptor) : !is_tagged(descriptor, reference.tag)) continue;
    // The same image under several names is one image.
    if (std::ranges::find(matches, descriptor.digest, &Descriptor::digest) == matches.end())
      matches.push_back(descriptor);
  }
  if (matches.size() == 1) return matches.front();
  if (matches.empty()) {
    if (reference.tag.empty()) return Error::not_found("there is no image");
    return Error::not_found("there is no image \"{}\"", reference.tag)
        .with_hint("the images there: {}", list_images(index));
  }
  return Error::invalid_argument("there are {} images{}", matches.size(),
                                 reference.tag.empty() ? "" : " of that tag: give a digest")
      .with_hint("add a tag (or @digest) to the reference: {}", list_images(index));
}

}  // namespace

std::string blob_path(const Digest& digest) {
  return "blobs/sha256/" + digest.hex();
}

Result<void> check_layout_version(const FileTree& tree) {
  constexpr Bytes kLimit{4096};
  auto bytes = read_file(tree, kLayoutFile, kLimit);
  if (!bytes && bytes.error().code() == ErrorCode::kNotFound)
    return Error::not_found("not an OCI layout: no oci-layout in it");
  if (!bytes) return std::move(bytes).error();
  DADI_TRY(const Json json, parse_json(*bytes).context("oci-layout"));
  DADI_TRY(const JsonObject document, JsonObject::of(json, "oci-layout"));
  DADI_TRY(const std::string version, document.required_text("imageLayoutVersion"));
  if (!version.starts_with("1.")) return Error::unsupported("an OCI layout of version \"{}\"", version);
  return {};
}

Result<std::unique_ptr<ImageSource>> open_layout(std::unique_ptr<FileTree> tree, const Reference& reference) {
  DADI_CHECK(check_layout_version(*tree));
  DADI_TRY(const auto bytes, read_file(*tree, kIndexFile, kIndexLimit));
  DADI_TRY(const Index index, Index::parse(bytes, "").context("index.json"));
  DADI_TRY(Descriptor root, find_root(*tree, index, reference));
  std::vector<Descriptor> artifacts = index.manifests;
  std::erase_if(artifacts, std::not_fn(is_artifact));
  return std::unique_ptr<ImageSource>(
      std::make_unique<LayoutSource>(std::move(tree), std::move(root), std::move(artifacts)));
}

}  // namespace dadi::oci
