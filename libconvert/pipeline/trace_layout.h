// In which order the data of an image's layers lies, so that what a trace reads lies side by side. Nothing is read or
// written in here.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "libformat/lsmt/layer_reader.h"
#include "libformat/trace/trace.h"

namespace dadi::pipeline {

struct TraceLayout {
  struct Layer {
    bool anew = false;                 // else it keeps its bytes
    bool too_many = false;             // it keeps them because no order that is of use fits into an index
    Bytes recorded{};                  // data that the trace reads of it
    std::size_t in_front{};            // so many of `order` are that; then the rest follows, as it lies on the device
    std::vector<lsmt::Segment> order;  // all its data, each of any length; moffset: where it is now
  };
  std::vector<Layer> layers;
  std::vector<trace::Read> reads;  // the trace, in the new places, each byte once
  Bytes recorded{};                // that they are
  Bytes left_out{};                // of the trace, each byte once: no data of any layer
};

// `layers`: bottom first; null: one that the trace does not read, or nobody knows. `keep[i]`: that one keeps its bytes
// whatever the trace says. What is in front are whole pieces of 4 KiB of the device, as far as the layer has them;
// larger ones where the index would have more than `most_records`. The trace may be anybody's. Time: n log n of reads
// and segments; memory: some 200 bytes for each of them.
TraceLayout lay_out(std::span<const trace::Read> trace, std::span<const lsmt::LayerReader* const> layers,
                    const std::vector<bool>& keep, std::uint64_t most_records = lsmt::kMaxRecords);

}  // namespace dadi::pipeline
