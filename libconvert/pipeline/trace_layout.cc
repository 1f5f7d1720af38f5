#include "libconvert/pipeline/trace_layout.h"

#include <algorithm>
#include <optional>

#include "libformat/lsmt/device_places.h"
#include "libformat/lsmt/segment_map.h"

namespace dadi::pipeline {

namespace {

using lsmt::Segment;

constexpr Bytes kFinest{4096};        // what file systems read, and the least that is compressed as one
constexpr Bytes kCoarsest{1U << 24};  // beyond, the front would be mostly what nobody reads

class Layout {
 public:
  Layout(std::span<const lsmt::LayerReader* const> layers, const std::vector<bool>& keep, std::uint64_t most_records)
      : layers_(layers),
        most_records_(most_records),
        keep_(keep),
        grains_(layers.size(), kFinest),
        too_many_(layers.size(), false) {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      places_.emplace_back();
      if (layers[i] != nullptr) places_.back().emplace(*layers[i]);
      keep_[i] = keep_[i] || layers[i] == nullptr || shares_data(i);
    }
  }

  TraceLayout run(std::span<const trace::Read> trace) {
    const std::vector<trace::Read> reads = trace::without_repeats({trace.begin(), trace.end()});
    while (!fits(find(reads))) continue;
    return std::move(made_);
  }

 private:
  // Whether segments have the same bytes for several places: written once for each, they could be gigantic.
  bool shares_data(std::size_t number) const {
    Sectors sum;
    for (const Segment& segment : layers_[number]->segments())
      if (!segment.zeroed) sum += segment.length;
    return to_bytes(sum) > layers_[number]->blob()->size();
  }

  // The data that is read, in order: on the device, of layers that are laid out; in the file, of others.
  std::vector<trace::Read> find(const std::vector<trace::Read>& reads) {
    made_ = {};
    std::vector<trace::Read> found;
    for (const trace::Read& read : reads) {
      if (read.layer >= layers_.size() || !places_[read.layer]) {
        made_.left_out += read.size;
        continue;
      }
      Bytes at = read.offset;
      places_[read.layer]->visit(read.offset, read.size, [&](const lsmt::DevicePlaces::Piece& piece) {
        if (piece.kind == lsmt::DevicePlaces::Kind::kDevice) {
          found.push_back({read.layer, keep(read.layer) ? at : piece.at, piece.size});
        } else {
          made_.left_out += piece.size;
        }
        at += piece.size;
      });
    }
    return found;
  }

  // Lays everything out. False: not with these grains, or not this layer, which was noted.
  bool fits(std::vector<trace::Read> wanted) {
    made_.layers.resize(layers_.size());
    for (trace::Read& read : wanted) {
      if (keep(read.layer)) continue;
      const std::uint64_t grain = grains_[read.layer].value;
      const Bytes end{round_up(read.end().value, grain)};
      read.offset = {read.offset.value / grain * grain};
      read.size = end - read.offset;
    }
    std::vector<Sectors> cursors(layers_.size(), lsmt::kDataStart);
    for (const trace::Read& read : trace::without_repeats(wanted)) place(read, cursors[read.layer]);
    made_.reads = trace::without_repeats(made_.reads);
    made_.recorded = trace::total(made_.reads);
    bool all = true;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      if (made_.layers[i].order.empty()) continue;
      made_.layers[i].anew = true;
      made_.layers[i].in_front = made_.layers[i].order.size();
      add_rest(i);
      all = within_limits(i) && all;
    }
    return all;
  }

  bool keep(std::size_t number) const { return keep_[number] || too_many_[number]; }

  // Puts the data in a range of the device, or what is to be kept of a file, next.
  void place(const trace::Read& read, Sectors& cursor) {
    TraceLayout::Layer& made = made_.layers[read.layer];
    if (keep(read.layer)) {
      made.too_many = too_many_[read.layer];
      made.recorded += read.size;
      made_.reads.push_back(read);
      return;
    }
    const std::span<const Segment> segments = layers_[read.layer]->segments();
    const Sectors end = whole_sectors(read.end());
    Sectors at = whole_sectors(read.offset);
    auto segment = std::ranges::upper_bound(segments, at, {}, &Segment::end);
    for (; segment != segments.end() && segment->offset < end; ++segment) {
      if (segment->zeroed) continue;
      at = std::max(at, segment->offset);
      const Sectors length = std::min(segment->end(), end) - at;
      made.order.push_back({at, length, segment->moffset + (at - segment->offset)});
      made.recorded += to_bytes(length);
      made_.reads.push_back({read.layer, to_bytes(cursor), to_bytes(length)});
      cursor += length;
    }
  }

  // What is not in front, as it lies on the device.
  void add_rest(std::size_t number) {
    std::vector<Segment>& order = made_.layers[number].order;
    std::vector<Segment> front = order;
    std::ranges::sort(front, {}, &Segment::offset);
    auto taken = front.begin();
    const auto add = [&](const Segment& segment, Sectors begin, Sectors end) {
      if (begin >= end) return;
      const Sectors moffset = segment.moffset + (begin - segment.offset);
      Segment& last = order.back();
      if (order.size() > front.size() && last.end() == begin && last.mend() == moffset) {
        last.length += end - begin;
      } else {
        order.push_back({begin, end - begin, moffset});
      }
    };
    for (const Segment& segment : layers_[number]->segments()) {
      if (segment.zeroed) continue;
      Sectors at = segment.offset;
      for (; taken != front.end() && taken->offset < segment.end(); ++taken) {
        add(segment, at, taken->offset);
        at = taken->end();
      }
      add(segment, at, segment.end());
    }
  }

  // Else the next try has larger pieces of this layer, or leaves it alone.
  bool within_limits(std::size_t number) {
    lsmt::SegmentMap index;
    Sectors cursor = lsmt::kDataStart;
    for (const Segment& segment : made_.layers[number].order) {
      index.insert({segment.offset, segment.length, cursor});
      cursor += segment.length;
    }
    for (const Segment& segment : layers_[number]->segments())
      if (segment.zeroed) index.insert(segment);
    if (index.size() <= most_records_) return true;
    grains_[number] = grains_[number] * 8;
    too_many_[number] = grains_[number] > kCoarsest;
    return false;
  }

  const std::span<const lsmt::LayerReader* const> layers_;
  const std::uint64_t most_records_;
  std::vector<bool> keep_;
  std::vector<Bytes> grains_;
  std::vector<bool> too_many_;
  std::vector<std::optional<lsmt::DevicePlaces>> places_;
  TraceLayout made_;
};

}  // namespace

TraceLayout lay_out(std::span<const trace::Read> trace, std::span<const lsmt::LayerReader* const> layers,
                    const std::vector<bool>& keep, std::uint64_t most_records) {
  return Layout(layers, keep, most_records).run(trace);
}

}  // namespace dadi::pipeline
