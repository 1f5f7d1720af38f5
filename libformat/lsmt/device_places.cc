#include "libformat/lsmt/device_places.h"

#include <algorithm>

namespace dadi::lsmt {

DevicePlaces::DevicePlaces(const LayerReader& layer) : size_(layer.blob()->size()) {
  for (const Segment& segment : layer.segments()) {
    if (segment.zeroed) continue;
    runs_.push_back({to_bytes(segment.moffset), to_bytes(segment.mend()), to_bytes(segment.offset)});
  }
  std::ranges::sort(runs_, {}, &Run::begin);
  Bytes end;
  for (Run& run : runs_) {  // what several segments share is the first one's
    const Bytes begin = std::max(run.begin, end);
    run.device += begin - run.begin;
    run.begin = begin;
    end = std::max(end, run.end);
  }
  std::erase_if(runs_, [](const Run& run) { return run.begin >= run.end; });
}

void DevicePlaces::visit(Bytes offset, Bytes size, const std::function<void(const Piece&)>& visitor) const {
  const auto tell = [&](Kind kind, Bytes at, Bytes length) {
    if (length.value > 0) visitor({kind, at, length});
  };
  const Bytes wanted = offset + size;
  const Bytes end = std::min(wanted, size_);
  Bytes at = offset;
  auto run = std::ranges::upper_bound(runs_, at, {}, &Run::end);
  for (; run != runs_.end() && run->begin < end && at < end; ++run) {
    if (at < run->begin) {
      tell(Kind::kAround, {}, run->begin - at);
      at = run->begin;
    }
    const Bytes length = std::min(run->end, end) - at;
    tell(Kind::kDevice, run->device + (at - run->begin), length);
    at += length;
  }
  if (at < end) {
    tell(Kind::kAround, {}, end - at);
    at = end;
  }
  if (at < wanted) tell(Kind::kBeyond, {}, wanted - at);
}

}  // namespace dadi::lsmt
