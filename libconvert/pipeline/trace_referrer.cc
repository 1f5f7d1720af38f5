#include "libconvert/pipeline/trace_referrer.h"

#include <algorithm>

#include "libconvert/oci/acceleration_layer.h"
#include "libconvert/oci/trace_artifact.h"
#include "libformat/base/bytes.h"

namespace dadi::pipeline {

namespace {

Result<void> put(oci::ImageDestination& destination, std::span<const std::byte> data, const oci::Descriptor& blob) {
  DADI_TRY(const bool there, destination.has_blob(blob.digest, blob.size));
  if (there) return {};
  DADI_TRY(const auto sink, destination.create_blob({0}));
  DADI_CHECK(sink->write(data));
  DADI_CHECK(sink->finish({}));
  return {};
}

}  // namespace

Result<TraceReferrer> make_trace_referrer(const oci::ImageSource& source, const oci::Descriptor& image,
                                          std::span<const std::byte> trace) {
  TraceReferrer made{.manifest = {.media_type = "", .digest = Digest::of({}), .size = {}},
                     .document = {},
                     .layer = oci::acceleration_layer(trace)};
  if (made.layer.size() > oci::kAccelerationLayerLimit.value)
    return Error::exhausted("the trace is larger than a layer for one may be");
  const auto layer = oci::acceleration_layer_descriptor({Digest::of(made.layer), {made.layer.size()}});
  const auto make = [&](std::uint64_t revision) {
    const oci::Manifest manifest = oci::trace_artifact(image, layer, revision);
    made.document = manifest.to_json();
    made.manifest = {.media_type = manifest.media_type,
                     .digest = Digest::of(as_bytes(made.document)),
                     .size = {made.document.size()},
                     .annotations = manifest.annotations,
                     .artifact_type = manifest.artifact_type};
  };
  DADI_TRY(const auto listed, source.referrers(image.digest, oci::kTraceArtifactType));
  const auto latest = oci::latest_trace(listed);
  const std::uint64_t revision = latest ? oci::revision_of(*latest) : 0;
  make(std::max<std::uint64_t>(revision, 1));
  made.there = latest && latest->digest == made.manifest.digest;
  if (!made.there) make(revision + 1);
  return made;
}

Result<void> put_trace_referrer(const TraceReferrer& referrer, oci::ImageDestination& destination) {
  const auto document = as_bytes(referrer.document);
  DADI_TRY(const oci::Manifest manifest, oci::Manifest::parse(document, referrer.manifest.media_type));
  DADI_CHECK(put(destination, referrer.layer, manifest.layers.front()));
  DADI_CHECK(put(destination, as_bytes(oci::kEmptyConfig), manifest.config));
  DADI_CHECK(put(destination, document, referrer.manifest));
  return destination.commit(referrer.manifest);
}

}  // namespace dadi::pipeline
