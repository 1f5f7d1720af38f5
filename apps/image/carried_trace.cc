#include "apps/image/carried_trace.h"

#include "libconvert/oci/acceleration_layer.h"
#include "libconvert/oci/converted.h"
#include "libconvert/oci/trace_artifact.h"

namespace dadi {
namespace {

// A blob as a whole, verified. Unlike a stream of it, it stops when it is told to.
Result<std::vector<std::byte>> read_blob(const oci::ImageSource& source, const oci::Descriptor& blob,
                                         const ReadContext& context) {
  if (blob.size > oci::kAccelerationLayerLimit)
    return Error::unsupported("a layer of {} bytes for a trace", blob.size.value);
  DADI_TRY(const SharedBlob opened, source.open_blob(blob));
  DADI_TRY(auto bytes, read_range(*opened, {0}, blob.size, context));
  const Digest digest = Digest::of(bytes);
  if (digest != blob.digest)
    return Error::corruption("blob {} has the digest {}", blob.digest.to_string(), digest.to_string());
  return bytes;
}

}  // namespace

std::optional<FoundTrace> trace_on_top(const StoredImage& image) {
  const oci::Descriptor& top = image.image.manifest.layers.back();
  if (oci::form_of(top) != oci::LayerForm::kAcceleration) return {};
  return FoundTrace{top, {}};
}

Result<std::optional<FoundTrace>> find_trace(const StoredImage& image, const ReadContext& context) {
  if (auto top = trace_on_top(image)) return top;
  const Digest& subject = image.image.descriptor.digest;
  DADI_TRY(const auto listed, image.source->referrers(subject, oci::kTraceArtifactType, context));
  auto artifact = oci::latest_trace(listed);
  if (!artifact) return std::optional<FoundTrace>();
  DADI_TRY(const auto document, oci::read_document(*image.source, *artifact, oci::kManifestLimit, context));
  DADI_TRY(oci::Descriptor layer, oci::layer_of_trace_artifact(document, subject));
  return std::optional(FoundTrace{std::move(layer), std::move(artifact)});
}

Result<std::vector<trace::Read>> read_trace(const oci::ImageSource& source, const FoundTrace& trace,
                                            const ReadContext& context) {
  DADI_TRY(auto archive, read_blob(source, trace.layer, context));
  DADI_TRY(const auto data, oci::trace_of(std::move(archive)));
  return trace::decode(data);
}

}  // namespace dadi
