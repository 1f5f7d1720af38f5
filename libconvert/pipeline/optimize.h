// An image laid out anew by a trace: the same device, in layers whose first bytes are those that a start reads.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "libconvert/oci/image.h"
#include "libconvert/oci/image_store.h"
#include "libformat/trace/trace.h"
#include "libformat/zfile/codec.h"

namespace dadi::pipeline {

struct OptimizeOptions {
  std::optional<oci::Platform> platform;  // default: this machine's
  // Of the layers that are laid out: what is not given is as it was in each of them, or convert's default.
  std::optional<zfile::Algorithm> algorithm;
  int level = 3;  // of zstd; what a layer was compressed with does not say it
  std::optional<std::uint32_t> block_size;
  std::set<Digest> kept;  // these blobs stay as they are
  // A folder where blobs are put for a while that are far away; empty: the source can be read at random.
  std::filesystem::path staging;
  unsigned jobs = 1;  // threads that compress; no byte depends on them
  std::stop_token stop;
};

// Told what happens; by the thread that works.
class OptimizeObserver {
 public:
  virtual ~OptimizeObserver() = default;
  virtual void layer_started(std::size_t number, const oci::Descriptor& source, Bytes work) = 0;
  virtual void layer_advanced(Bytes done) = 0;
  virtual void layer_finished() = 0;
  virtual void note(const std::string& text) = 0;
};

struct OptimizedLayer {
  oci::Descriptor source;
  oci::Descriptor result;  // the same where it kept its bytes
  Bytes recorded;          // data that the trace reads of it
};

struct OptimizeResult {
  oci::Descriptor root;
  std::vector<OptimizedLayer> layers;  // bottom first
  std::uint64_t reads = 0;             // of the trace on top
  Bytes recorded;
  Bytes left_out;  // of the trace that was given: no data of this image
};

// Copies a converted image. Layers that the trace reads are written anew, what it reads first, in its order, and keep
// their uuid, parent, virtual size and user tag; others keep their bytes. The trace with the new places goes on top, in
// place of one that is there. Every blob is compared with its digest before anything is made of it.
// Errors: those of the stores and of select(); unsupported (an ordinary image), invalid_argument (a trace that reads
// nothing of this image's data), corruption (a layer, named), cancelled.
Result<OptimizeResult> optimize(const oci::ImageSource& source, oci::ImageDestination& destination,
                                std::span<const trace::Read> trace, const OptimizeOptions& options,
                                OptimizeObserver& observer);

}  // namespace dadi::pipeline
