// What is behind the reads of a trace: from places in layers to places on the device.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "apps/image/block_image.h"
#include "libformat/trace/trace.h"

namespace dadi {

// Where the data of an image's layers lies on its device. 24 bytes of memory a segment. Thread-safe.
class TracedPlaces {
 public:
  explicit TracedPlaces(std::span<const BlockLayer> layers);

  enum class Kind {
    kDevice,   // data of the device
    kAround,   // of the layer's file, and no data: its header and index
    kNowhere,  // beyond the file, or of a layer that does not exist
  };
  struct Piece {
    Kind kind = Kind::kNowhere;
    Bytes at{};  // on the device, for kDevice
    Bytes size{};
  };
  // Divides a read into pieces that are contiguous, in order.
  void visit(const trace::Read& read, const std::function<void(const Piece&)>& visitor) const;

 private:
  struct Run {  // bytes
    Bytes begin;
    Bytes end;
    Bytes device;
  };
  struct Layer {
    Bytes size;
    std::vector<Run> runs;  // in the order of the file, not overlapping
  };
  std::vector<Layer> layers_;
};

}  // namespace dadi
