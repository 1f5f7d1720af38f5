#include <map>

#include "libconvert/oci/manifest.h"
#include "libconvert/oci/verified_source.h"
#include "libconvert/registry/image_store.h"
#include "libconvert/registry/repository.h"
#include "libformat/blob/memory_blob.h"

namespace dadi::registry {

namespace {

class RegistrySource final : public oci::ImageSource {
 public:
  RegistrySource(std::unique_ptr<Repository> repository, FetchedManifest root)
      : repository_(std::move(repository)), root_(std::move(root)) {}

  const oci::Descriptor& root() const override { return root_.descriptor; }

  Result<SharedBlob> open_blob(const oci::Descriptor& descriptor) const override {
    return Error::unsupported("blob {} of {}/{}: blobs on a registry are not read at random", descriptor.digest.brief(),
                              repository_->host(), repository_->name())
        .with_hint("pull the image first: dadi pull {}/{} oci:DIR", repository_->host(), repository_->name());
  }

  Result<std::unique_ptr<ByteSource>> stream_blob(const oci::Descriptor& descriptor,
                                                  const ReadContext& context) const override {
    DADI_TRY(auto stream, open_stream(descriptor, context));
    return std::unique_ptr<ByteSource>(
        std::make_unique<oci::VerifiedSource>(std::move(stream), descriptor.digest, descriptor.size));
  }

 private:
  Result<std::unique_ptr<ByteSource>> open_stream(const oci::Descriptor& descriptor, const ReadContext& context) const {
    const auto in_memory = [&](std::vector<std::byte> bytes) {
      return std::unique_ptr<ByteSource>(
          std::make_unique<oci::BlobStream>(std::make_shared<MemoryBlob>(std::move(bytes)), context));
    };
    if (descriptor.digest == root_.descriptor.digest) return in_memory(root_.bytes);
    if (!oci::is_manifest(descriptor.media_type) && !oci::is_index(descriptor.media_type))
      return repository_->stream_blob(descriptor.digest, descriptor.size);
    DADI_TRY(FetchedManifest fetched, repository_->manifest(descriptor.digest.to_string()));
    return in_memory(std::move(fetched.bytes));
  }

  std::unique_ptr<Repository> repository_;
  FetchedManifest root_;
};

// The error, with the tags that there are.
Error with_tags(Error error, Repository& repository) {
  const auto tags = repository.tags();
  if (!tags || tags->empty()) return error;
  std::string list;
  for (std::size_t i = 0; i < tags->size() && i < 20; ++i) list += (i == 0 ? "" : ", ") + (*tags)[i];
  return std::move(error).with_hint("the tags there: {}{}", list, tags->size() > 20 ? ", …" : "");
}

}  // namespace

Result<std::unique_ptr<oci::ImageSource>> open_source(const oci::Reference& reference, const Access& access) {
  if (reference.kind != oci::Reference::Kind::kRegistry) return oci::open_source(reference);
  auto repository = std::make_unique<Repository>(access, reference.host, reference.repository, Purpose::kPull);
  auto root = repository->manifest(reference.digest ? reference.digest->to_string() : reference.tag);
  if (!root && root.error().code() == ErrorCode::kNotFound) return with_tags(std::move(root).error(), *repository);
  if (!root) return std::move(root).error();
  const std::string& type = root->descriptor.media_type;
  // Of another type, the document tells.
  if (!oci::is_manifest(type) && !oci::is_index(type) && !oci::is_docker_schema1(type))
    root->descriptor.media_type.clear();
  return std::unique_ptr<oci::ImageSource>(std::make_unique<RegistrySource>(std::move(repository), std::move(*root)));
}

}  // namespace dadi::registry
