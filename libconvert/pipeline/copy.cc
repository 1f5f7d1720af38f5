#include "libconvert/pipeline/copy.h"

#include <set>

#include "libconvert/oci/acceleration_layer.h"
#include "libconvert/oci/converted.h"
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
        result_{source.root(), 0, 0, {}} {}

  Result<CopyResult> run() {
    if (!options_.trace.empty()) return run_with_trace();
    DADI_TRY(result_.root, choose());
    DADI_CHECK(copy_document(result_.root, 0));
    DADI_CHECK(destination_.commit(result_.root));
    return std::move(result_);
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
    oci::Manifest manifest = image.manifest;
    std::vector<Digest> diff_ids = image.config.diff_ids();
    const bool replaced = oci::form_of(manifest.layers.back()) == oci::LayerForm::kAcceleration;
    if (replaced) manifest.layers.pop_back();
    if (replaced && !diff_ids.empty()) diff_ids.pop_back();
    for (const oci::Descriptor& layer : manifest.layers) DADI_CHECK(copy_blob(layer));
    DADI_TRY(oci::Descriptor added, put_trace());
    manifest.layers.push_back(std::move(added));
    diff_ids.push_back(manifest.layers.back().digest);
    DADI_TRY(const oci::ImageConfig config, oci::ImageConfig::parse(as_bytes(image.config.with_diff_ids(diff_ids))));
    const std::string config_json = replaced ? config.json() : config.with_layer_in_history("dadi trace attach");
    DADI_TRY(const oci::Descriptor written, oci::put_document(destination_, config_json, manifest.config.media_type));
    manifest.config.digest = written.digest;
    manifest.config.size = written.size;
    DADI_TRY(result_.root, oci::put_document(destination_, manifest.to_json(), manifest.media_type));
    DADI_CHECK(destination_.commit(result_.root));
    return std::move(result_);
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
      DADI_CHECK(copy_blob(layer).context("layer {} ({})", i + 1, layer.digest.brief()));
    }
    return copy_blob(manifest.config).context("config");
  }

  Result<void> copy_blob(const oci::Descriptor& blob) {
    if (!seen_.insert(blob.digest).second) return {};
    if (options_.stop.stop_requested()) return Error::cancelled("stopped");
    DADI_TRY(const bool there, destination_.has_blob(blob.digest, blob.size));
    if (there) {
      ++result_.blobs_there;
      return {};
    }
    observer_.blob_started(blob);
    DADI_TRY(const auto stream, source_.stream_blob(blob, {.stop = options_.stop}));
    DADI_TRY(const auto sink, destination_.create_blob({0}));
    Bytes done;
    for (;;) {
      if (options_.stop.stop_requested()) return Error::cancelled("stopped");
      DADI_TRY(const auto piece, stream->next());
      if (piece.empty()) break;
      DADI_CHECK(sink->write(piece));
      observer_.blob_read(done += Bytes{piece.size()});
    }
    DADI_CHECK(sink->finish({}));
    observer_.blob_finished();
    ++result_.blobs_copied;
    result_.bytes_copied += blob.size;
    return {};
  }

  const oci::ImageSource& source_;
  oci::ImageDestination& destination_;
  const CopyOptions& options_;
  CopyObserver& observer_;
  CopyResult result_;
  std::set<Digest> seen_;
  std::size_t documents_ = 0;
};

}  // namespace

Result<CopyResult> copy(const oci::ImageSource& source, oci::ImageDestination& destination, const CopyOptions& options,
                        CopyObserver& observer) {
  return Copy(source, destination, options, observer).run();
}

}  // namespace dadi::pipeline
