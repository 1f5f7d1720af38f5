// What is behind the reads of a trace: from places in layers to places on the device.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "apps/image/block_image.h"
#include "libformat/lsmt/device_places.h"
#include "libformat/trace/trace.h"

namespace dadi {

// Where the data of an image's layers lies on its device. 24 bytes of memory a segment. Thread-safe.
class TracedPlaces {
 public:
  using Kind = lsmt::DevicePlaces::Kind;
  using Piece = lsmt::DevicePlaces::Piece;

  explicit TracedPlaces(std::span<const BlockLayer> layers);

  // Divides a read into pieces that are contiguous, in order. Of a layer that does not exist it is kBeyond.
  void visit(const trace::Read& read, const std::function<void(const Piece&)>& visitor) const;

 private:
  std::vector<lsmt::DevicePlaces> layers_;
};

}  // namespace dadi
