// Traces beside images that stay untouched.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "libconvert/oci/image_store.h"

namespace dadi::pipeline {

// A trace as what refers to an image. A value type.
struct TraceReferrer {
  oci::Descriptor manifest;  // as stores list it
  std::string document;
  std::vector<std::byte> layer;
  bool there = false;  // it is the latest there is, and need not be put
};

// `trace`: encoded, of the image in `source`. The bytes depend on the image, the trace and the latest that the store
// lists: the same trace again is the same artifact, another one is of the next revision, and takes its place.
// Errors: those of asking the store; exhausted (a trace that is larger than its layer may be).
Result<TraceReferrer> make_trace_referrer(const oci::ImageSource& source, const oci::Descriptor& image,
                                          std::span<const std::byte> trace);

// Writes it to the store of the image, and commits that. Errors: those of the destination.
Result<void> put_trace_referrer(const TraceReferrer& referrer, oci::ImageDestination& destination);

}  // namespace dadi::pipeline
