#include "libconvert/oci/trace_artifact.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "libconvert/oci/converted.h"
#include "libformat/base/bytes.h"

namespace dadi::oci {

namespace {

constexpr char kEmptyType[] = "application/vnd.oci.empty.v1+json";
constexpr std::uint64_t kMostRevisions = 1'000'000'000;

}  // namespace

Descriptor empty_config() {
  return {.media_type = kEmptyType, .digest = Digest::of(as_bytes(kEmptyConfig)), .size = {sizeof kEmptyConfig - 1}};
}

Manifest trace_artifact(const Descriptor& image, const Descriptor& layer, std::uint64_t revision) {
  return {.media_type = std::string(kOciManifest),
          .artifact_type = kTraceArtifactType,
          .config = empty_config(),
          .layers = {layer},
          .subject = Descriptor{.media_type = image.media_type, .digest = image.digest, .size = image.size},
          .annotations = {{kTraceRevision, std::to_string(revision)}}};
}

std::uint64_t revision_of(const Descriptor& artifact) {
  const std::string& text = artifact.annotation(kTraceRevision);
  std::uint64_t revision = 0;
  const auto [stop, status] = std::from_chars(text.data(), text.data() + text.size(), revision);
  const bool sound = status == std::errc() && stop == text.data() + text.size() && revision <= kMostRevisions;
  return sound ? revision : 0;
}

std::optional<Descriptor> latest_trace(std::span<const Descriptor> artifacts) {
  const auto latest = std::ranges::max_element(
      artifacts, {}, [](const Descriptor& one) { return std::pair(revision_of(one), one.digest.hex()); });
  if (latest == artifacts.end()) return {};
  return *latest;
}

Result<Descriptor> layer_of_trace_artifact(std::span<const std::byte> document, const Digest& subject) {
  DADI_TRY(Manifest manifest, Manifest::parse(document, kOciManifest));
  if (manifest.artifact_type != kTraceArtifactType || !manifest.subject || manifest.subject->digest != subject ||
      manifest.layers.size() != 1 || form_of(manifest.layers.front()) != LayerForm::kAcceleration)
    return Error::corruption("what is listed as a trace of {} is none", subject.to_string());
  return std::move(manifest.layers.front());
}

}  // namespace dadi::oci
