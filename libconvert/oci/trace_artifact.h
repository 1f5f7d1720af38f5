// A trace that lies beside an image, which stays as it is: a manifest with the image as its subject, and one layer, the
// same that would lie on top of the image (acceleration_layer.h). Stores list it among the image's referrers.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "libconvert/oci/manifest.h"

namespace dadi::oci {

inline constexpr char kTraceArtifactType[] = "application/vnd.dadi.trace.v1";
// Of the manifest, and so of its descriptor where it is listed: which of several is the latest. A number from 1 on.
inline constexpr char kTraceRevision[] = "dadi.trace.revision";

// The content of its config, and the descriptor of that. Source: image-spec, manifest.md.
inline constexpr char kEmptyConfig[] = "{}";
Descriptor empty_config();

// REQUIRES: `revision` is at least 1.
Manifest trace_artifact(const Descriptor& image, const Descriptor& layer, std::uint64_t revision);

// 0: none that is a number.
std::uint64_t revision_of(const Descriptor& artifact);

// Which of the traces of an image counts: that of the highest revision; among several of those, which take two who
// attach at once, that of the greatest digest. None of none.
std::optional<Descriptor> latest_trace(std::span<const Descriptor> artifacts);

// The layer with the trace. `document`: of a manifest that is listed as a trace of the image `subject`.
// Errors: corruption (it is none).
Result<Descriptor> layer_of_trace_artifact(std::span<const std::byte> document, const Digest& subject);

}  // namespace dadi::oci
