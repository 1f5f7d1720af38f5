// The trace that an image carries, or that lies beside it.
#pragma once

#include <optional>
#include <vector>

#include "apps/image/block_image.h"
#include "libconvert/oci/image_store.h"
#include "libformat/trace/trace.h"

namespace dadi {

// Where a trace is.
struct FoundTrace {
  oci::Descriptor layer;                    // that holds it
  std::optional<oci::Descriptor> artifact;  // the manifest beside the image; none: the layer is the image's own
};

// That on top of the image, for which its store is not asked.
std::optional<FoundTrace> trace_on_top(const StoredImage& image);

// That, or the latest that the store lists as one of the image. Errors: those of asking; corruption (what is listed is
// none).
Result<std::optional<FoundTrace>> find_trace(const StoredImage& image, const ReadContext& context = {});

// What is in it. Errors: those of the store; corruption (no trace: a list of files, say).
Result<std::vector<trace::Read>> read_trace(const oci::ImageSource& source, const FoundTrace& trace,
                                            const ReadContext& context = {});

}  // namespace dadi
