#include "libconvert/pipeline/copy.h"

#include <set>

#include "libconvert/oci/acceleration_layer.h"
#include "libconvert/oci/converted.h"
#include "libconvert/pipeline/derived_image.h"
#include "libformat/base/bytes.h"

namespace dadi::pipeline {

namespace {

constexpr int kMostNesting = 8;
constexpr std::size_t kMostManifests = 2000;

class Copy {
 public:
  Copy(const oci::ImageSource& source, oci::ImageDestination& destination, const CopyOptions& options,
       CopyObserver& observer)
      : source_(source),
        destination_(destination),
        options_(options),
        observer_(observer),
        blobs_(source, destination, observer, options.stop) {}

  Result<CopyResult> run() {
    if (!options_.trace.empty()) return run_with_trace();
    DADI_TRY(oci::Descriptor root, choose());
    DADI_CHECK(copy_document(root, 0));
    DADI_CHECK(destination_.commit(root));
    return CopyResult{std::move(root), blobs_.counts()};
  }

 private:
  Result<oci::Descriptor> choose() {
    oci::Descriptor root = source_.root();
    if (options_.all && (oci::is_index(root.media_type) || oci::is_manifest(root.media_type))) return plain(root);
    DADI_TRY(const oci::Selection selection,
             oci::select(source_, {.platform = options_.platform, .all = options_.all, .for_conversion = false}));
    for (const std::string& text : selection.notes) observer_.note(text);
    if (options_.all && selection.index) root.media_type = selection.index->media_type;
    return plain(options_.all && selection.index ? root : selection.images.front().descriptor);
  }

  Result<CopyResult> run_with_trace() {
    if (options_.all) return Error::invalid_argument("a trace is of one image");
    DADI_TRY(const oci::Selection selection,
             oci::select(source_, {.platform = options_.platform, .all = false, .for_conversion = false}));
    for (const std::string& text : selection.notes) observer_.note(text);
    const oci::SelectedImage& image = selection.images.front();
    if (!oci::is_converted(image.manifest))
      return Error::unsupported("an ordinary image, and a trace is of block layers")
          .with_hint("convert it first: dadi convert SRC DST");
    DADI_TRY(oci::Descriptor trace, put_trace());
    const Derivation derivation{.added = {{std::move(trace), "dadi trace attach"}}};
    DADI_TRY(const DerivedImage derived,
             derive_image(source_, image, destination_, derivation, observer_, options_.stop));
    DADI_CHECK(destination_.commit(derived.manifest));
    return CopyResult{derived.manifest, derived.copied};
  }

  Result<oci::Descriptor> put_trace() {
    DADI_TRY(const auto sink, destination_.create_blob({0}));
    DADI_CHECK(sink->write(oci::acceleration_layer(options_.trace)));
    DADI_TRY(const BlobIdentity blob, sink->finish({}));
    return oci::acceleration_layer_descriptor(blob);
  }

  // What names the document in its new place: nothing that a store or an index said of it.
  static oci::Descriptor plain(const oci::Descriptor& d) {
    return {.media_type = d.media_type, .digest = d.digest, .size = d.size};
  }

  Result<void> copy_document(const oci::Descriptor& descriptor, int depth) {
    if (!seen_.insert(descriptor.digest).second) return {};
    if (depth > kMostNesting) return Error::unsupported("indexes nested deeper than {}", kMostNesting);
    if (++documents_ > kMostManifests) return Error::unsupported("more than {} manifests", kMostManifests);
    DADI_TRY(const auto bytes, oci::read_document(source_, descriptor, oci::kManifestLimit));
    DADI_CHECK(copy_children(descriptor, bytes, depth).context("manifest {}", descriptor.digest.brief()));
    DADI_TRY(const oci::Descriptor written, oci::put_document(destination_, as_text(bytes), descriptor.media_type));
    if (written.digest != descriptor.digest) return Error::internal("a manifest changed on its way");
    return {};
  }

  Result<void> copy_children(const oci::Descriptor& descriptor, std::span<const std::byte> bytes, int depth) {
    if (oci::is_index(descriptor.media_type)) {
      DADI_TRY(const oci::Index index, oci::Index::parse(bytes, descriptor.media_type));
      for (const oci::Descriptor& child : index.manifests) {
        if (!oci::is_index(child.media_type) && !oci::is_manifest(child.media_type))
          return Error::unsupported("\"{}\" in an index is no image", child.media_type.substr(0, 200));
        DADI_CHECK(copy_document(child, depth + 1));
      }
      return {};
    }
    DADI_TRY(const oci::Manifest manifest, oci::Manifest::parse(bytes, descriptor.media_type));
    for (std::size_t i = 0; i < manifest.layers.size(); ++i) {
      const oci::Descriptor& layer = manifest.layers[i];
      const auto type = oci::parse_layer_type(layer.media_type);
      if ((type && type->foreign) || !layer.urls.empty()) {
        observer_.note(
            fmt::format("layer {} ({}) is a foreign one, and is left where it is", i + 1, layer.digest.brief()));
        continue;
      }
      DADI_CHECK(blobs_.copy(layer).context("layer {} ({})", i + 1, layer.digest.brief()));
    }
    return blobs_.copy(manifest.config).context("config");
  }

  const oci::ImageSource& source_;
  oci::ImageDestination& destination_;
  const CopyOptions& options_;
  CopyObserver& observer_;
  BlobCopies blobs_;
  std::set<Digest> seen_;  // documents
  std::size_t documents_ = 0;
};

}  // namespace

Result<CopyResult> copy(const oci::ImageSource& source, oci::ImageDestination& destination, const CopyOptions& options,
                        CopyObserver& observer) {
  return Copy(source, destination, options, observer).run();
}

}  // namespace dadi::pipeline
