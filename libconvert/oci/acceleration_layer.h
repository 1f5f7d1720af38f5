// The layer on top of a converted image that carries a trace: a tar archive of one file. Source: registry-image.md,
// section 2.6.
#pragma once

#include <span>
#include <vector>

#include "libconvert/oci/descriptor.h"
#include "libformat/blob/byte_stream.h"

namespace dadi::oci {

inline constexpr Bytes kAccelerationLayerLimit{32U << 20};  // a larger one is refused

// The archive; it depends on the trace alone. REQUIRES: the trace is smaller than the limit by some blocks.
std::vector<std::byte> acceleration_layer(std::span<const std::byte> trace);

// The file in such an archive, which may be anybody's: a trace, or a list of files.
// Errors: corruption (no tar archive), not_found (no file of that name), unsupported (compressed).
Result<std::vector<std::byte>> trace_of(std::vector<std::byte> layer);

// As the reference annotates it.
Descriptor acceleration_layer_descriptor(const BlobIdentity& blob);

}  // namespace dadi::oci
