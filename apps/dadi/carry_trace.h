// A trace that goes along with its image: on top of a copy of it, or beside it.
#pragma once

#include <span>
#include <string>

#include "apps/dadi/block_image.h"
#include "libformat/trace/trace.h"

namespace dadi {

// What became of it, for people and for programs.
struct CarriedTrace {
  Digest digest;  // of the manifest that was written, or was there
  Json answer;
};

// Copies the image to `destination` with the trace as its acceleration layer on top, in place of one that it carries.
// Errors: those of pipeline::copy() and of encode().
Result<CarriedTrace> carry_on_top(Session& session, const ImageOptions& image, std::span<const trace::Read> trace,
                                  const std::string& destination);

// Puts the trace into the image's store as what refers to the image, which stays as it is. The latest counts.
// Errors: those of open_converted_image(), make_trace_referrer() and of writing to the store.
Result<CarriedTrace> carry_beside(Session& session, const ImageOptions& image, std::span<const trace::Read> trace);

}  // namespace dadi
