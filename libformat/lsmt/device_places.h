// What is behind the bytes of a layer's file: the way from there to the device.
#pragma once

#include <functional>
#include <vector>

#include "libformat/lsmt/layer_reader.h"

namespace dadi::lsmt {

// Where the data of a layer lies on its device. 24 bytes of memory a segment. Thread-safe.
class DevicePlaces {
 public:
  explicit DevicePlaces(const LayerReader& layer);

  enum class Kind {
    kDevice,  // data of the device
    kAround,  // of the layer's file, and no data: its header and index
    kBeyond,  // beyond the file
  };
  struct Piece {
    Kind kind = Kind::kBeyond;
    Bytes at{};  // on the device, for kDevice
    Bytes size{};
  };
  // Divides bytes of the file into pieces that are contiguous, in order, and leaves none out. REQUIRES: offset + size
  // does not overflow.
  void visit(Bytes offset, Bytes size, const std::function<void(const Piece&)>& visitor) const;

 private:
  struct Run {  // bytes
    Bytes begin;
    Bytes end;
    Bytes device;
  };
  Bytes size_;
  std::vector<Run> runs_;  // in the order of the file, not overlapping
};

}  // namespace dadi::lsmt
