#include "libconvert/pipeline/layers_ahead.h"

#include <algorithm>

namespace dadi::pipeline {

namespace {

constexpr std::size_t kMostAhead = 4;

// How much of each layer waits decompressed. With more threads to compress it, more is gone at once.
Bytes waiting(unsigned jobs) {
  return Bytes{std::uint64_t{std::clamp(jobs * 2, 8u, 64u)} << 20};
}

}  // namespace

std::unique_ptr<ByteSource> LayersAhead::take(std::size_t number) {
  while (next_ < layers_.size() && next_ <= number + kMostAhead) start(next_++);
  std::unique_ptr<ByteSource> stream = std::move(started_.front());
  started_.pop_front();
  return stream;
}

void LayersAhead::start(std::size_t number) {
  const SourceLayer& layer = layers_[number];
  observer_.layer_started(number, layer.source);
  LayerStreamOptions options;
  options.stop = options_.stop;
  options.progress = [&observer = observer_, number](Bytes read) { observer.layer_read(number, read); };
  options.ahead = waiting(options_.jobs);
  started_.push_back(open_layer_stream(layer.open, layer.diff_id, std::move(options)));
}

}  // namespace dadi::pipeline
