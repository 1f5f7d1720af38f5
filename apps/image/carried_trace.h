// The trace that an image carries.
#pragma once

#include <optional>
#include <vector>

#include "libconvert/oci/image_store.h"
#include "libconvert/oci/manifest.h"
#include "libformat/trace/trace.h"

namespace dadi {

// The layer that carries a trace, if there is one.
std::optional<oci::Descriptor> trace_layer(const oci::Manifest& manifest);

// What is in it. Errors: those of the store; corruption (no trace: a list of files, say).
Result<std::vector<trace::Read>> carried_trace(const oci::ImageSource& source, const oci::Descriptor& layer);

}  // namespace dadi
