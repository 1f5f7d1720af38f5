#include "apps/image/traced_places.h"

#include <algorithm>

namespace dadi {

TracedPlaces::TracedPlaces(std::span<const BlockLayer> layers) {
  for (const BlockLayer& layer : layers) {
    Layer& places = layers_.emplace_back();
    places.size = layer.reader.blob()->size();
    for (const lsmt::Segment& segment : layer.reader.segments()) {
      if (segment.zeroed) continue;
      places.runs.push_back({to_bytes(segment.moffset), to_bytes(segment.mend()), to_bytes(segment.offset)});
    }
    std::ranges::sort(places.runs, {}, &Run::begin);
    Bytes end;
    for (Run& run : places.runs) {  // what several segments share is the first one's
      const Bytes begin = std::max(run.begin, end);
      run.device += begin - run.begin;
      run.begin = begin;
      end = std::max(end, run.end);
    }
    std::erase_if(places.runs, [](const Run& run) { return run.begin >= run.end; });
  }
}

void TracedPlaces::visit(const trace::Read& read, const std::function<void(const Piece&)>& visitor) const {
  const auto tell = [&](Kind kind, Bytes at, Bytes size) {
    if (size.value > 0) visitor({kind, at, size});
  };
  if (read.layer >= layers_.size()) return tell(Kind::kNowhere, {}, read.size);
  const Layer& layer = layers_[read.layer];
  const Bytes end = std::min(read.end(), layer.size);
  Bytes at = read.offset;
  auto run = std::ranges::upper_bound(layer.runs, at, {}, &Run::end);
  for (; run != layer.runs.end() && run->begin < end && at < end; ++run) {
    if (at < run->begin) {
      tell(Kind::kAround, {}, run->begin - at);
      at = run->begin;
    }
    const Bytes size = std::min(run->end, end) - at;
    tell(Kind::kDevice, run->device + (at - run->begin), size);
    at += size;
  }
  if (at < end) {
    tell(Kind::kAround, {}, end - at);
    at = end;
  }
  if (at < read.end()) tell(Kind::kNowhere, {}, read.end() - at);
}

}  // namespace dadi
