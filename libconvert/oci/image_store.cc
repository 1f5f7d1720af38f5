#include "libconvert/oci/image_store.h"

#include "libconvert/oci/archive_destination.h"
#include "libconvert/oci/docker_archive.h"
#include "libconvert/oci/file_tree.h"
#include "libconvert/oci/layout_destination.h"
#include "libconvert/oci/layout_source.h"
#include "libconvert/oci/verified_source.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi::oci {

namespace {

Error no_registry() {
  return Error::unsupported("images on registries are not read at random yet")
      .with_hint("pull the image first: dadi pull IMAGE oci:DIR:TAG");
}

Result<std::unique_ptr<ImageSource>> open_folder(const Reference& reference) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(reference.path(), ignored))
    return Error::not_found("there is no folder {}", reference.path().string());
  return open_layout(std::make_unique<FolderTree>(reference.path()), reference);
}

// Either kind of archive under either name: newer ones are both.
Result<std::unique_ptr<ImageSource>> open_archive(const Reference& reference) {
  DADI_TRY(SharedBlob blob, FolderTree("").open(reference.path().string()));
  DADI_TRY(std::unique_ptr<TarTree> tree, TarTree::open(std::move(blob)));
  const bool is_layout = tree->contains(kLayoutFile);
  const bool is_saved = tree->contains(kDockerArchiveFile);
  if (!is_layout && !is_saved)
    return Error::corruption("an archive without an image: neither oci-layout nor manifest.json is in it");
  const bool as_saved = reference.kind == Reference::Kind::kDockerArchive ? is_saved : !is_layout;
  if (as_saved) return open_docker_archive(std::move(tree), reference);
  return open_layout(std::move(tree), reference);
}

}  // namespace

Result<std::vector<Descriptor>> ImageSource::referrers(const Digest& /*subject*/, std::string_view /*artifact_type*/,
                                                       const ReadContext& /*context*/) const {
  return std::vector<Descriptor>();
}

Result<std::unique_ptr<ByteSource>> ImageSource::stream_blob(const Descriptor& descriptor,
                                                             const ReadContext& context) const {
  DADI_TRY(SharedBlob blob, open_blob(descriptor));
  auto stream = std::make_unique<BlobStream>(std::move(blob), context);
  return std::unique_ptr<ByteSource>(
      std::make_unique<VerifiedSource>(std::move(stream), descriptor.digest, descriptor.size));
}

Result<std::vector<std::byte>> read_document(const ImageSource& source, const Descriptor& descriptor, Bytes limit,
                                             const ReadContext& context) {
  if (descriptor.size > limit)
    return Error::unsupported("document {} of {} bytes: at most {} are accepted", descriptor.digest.to_string(),
                              descriptor.size.value, limit.value);
  DADI_TRY(const auto stream, source.stream_blob(descriptor, context));
  std::vector<std::byte> document;
  for (;;) {
    DADI_TRY(const auto piece, stream->next());
    if (piece.empty()) return document;
    document.insert(document.end(), piece.begin(), piece.end());
  }
}

Result<Descriptor> put_document(ImageDestination& destination, std::string_view json, std::string_view media_type) {
  DADI_TRY(const auto sink, destination.create_blob({0}));
  DADI_CHECK(sink->write(as_bytes(json)));
  DADI_TRY(const BlobIdentity identity, sink->finish({}));
  return Descriptor{.media_type = std::string(media_type), .digest = identity.digest, .size = identity.size};
}

Result<std::unique_ptr<ImageSource>> open_source(const Reference& reference) {
  switch (reference.kind) {
    case Reference::Kind::kLayout:
      return open_folder(reference);
    case Reference::Kind::kOciArchive:
    case Reference::Kind::kDockerArchive:
      return open_archive(reference);
    case Reference::Kind::kRegistry:
      return no_registry();
    case Reference::Kind::kLayers:
    case Reference::Kind::kConfig:
      break;
  }
  return Error::unsupported("{} names block layers, not an image with a manifest", reference.to_string());
}

Result<std::unique_ptr<ImageDestination>> open_destination(const Reference& reference) {
  if (reference.digest) return Error::invalid_argument("an image is written under a tag, not a digest");
  const std::string tag = reference.tag.empty() ? "latest" : reference.tag;
  switch (reference.kind) {
    case Reference::Kind::kLayout:
      return open_layout_destination(reference.path(), tag);
    case Reference::Kind::kOciArchive:
      return open_archive_destination(reference.path(), tag);
    case Reference::Kind::kDockerArchive:
      return Error::unsupported("images are not written as Docker archives")
          .with_hint("write an OCI archive: oci-archive:{}", reference.path().string());
    case Reference::Kind::kRegistry:
      return no_registry();
    case Reference::Kind::kLayers:
    case Reference::Kind::kConfig:
      break;
  }
  return Error::unsupported("{} names block layers, not a store of images", reference.to_string());
}

Result<std::unique_ptr<ImageDestination>> open_referrer_destination(const Reference& reference) {
  if (reference.kind == Reference::Kind::kRegistry) return no_registry();
  if (reference.kind == Reference::Kind::kLayout) return open_layout_destination(reference.path(), "");
  return Error::unsupported("nothing can be put beside the image {}", reference.to_string())
      .with_hint("it can in a registry, and in a layout: oci:DIR");
}

}  // namespace dadi::oci
