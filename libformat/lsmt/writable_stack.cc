#include "libformat/lsmt/writable_stack.h"

#include <mutex>
#include <utility>

namespace dadi::lsmt {

WritableStack::WritableStack(std::vector<Layer> layers, std::uint64_t begin)
    : layers_(std::move(layers)), changes_(begin), top_(layers_.back().get()) {}

Result<void> WritableStack::write_at(Sectors at, std::span<const std::byte> data) {
  const std::shared_lock lock(writers_);
  ++changes_;
  return top().write_at(at, data);
}

Result<void> WritableStack::write_zeroes(Sectors at, Sectors length) {
  const std::shared_lock lock(writers_);
  ++changes_;
  return top().write_zeroes(at, length);
}

Result<void> WritableStack::discard(Sectors at, Sectors length) {
  const std::shared_lock lock(writers_);
  ++changes_;
  return top().discard(at, length);
}

Result<void> WritableStack::flush() {
  const std::shared_lock lock(writers_);
  return top().flush();
}

Result<void> WritableStack::put_on_top(
    std::uint64_t changes, const std::function<Result<Layer>(std::shared_ptr<const BlockReader> below)>& open,
    const std::function<Result<void>()>& publish) {
  const std::unique_lock lock(writers_);
  if (changes != changes_) return Error::busy("it was written to meanwhile");
  DADI_CHECK(layers_.back()->flush());
  DADI_TRY(Layer layer, open(layers_.back()));
  if (layer->size() != size())
    return Error::invalid_argument("a layer of {} sectors on a device of {}", layer->size().value, size().value);
  DADI_CHECK(publish());
  top_.store(layer.get(), std::memory_order_release);
  layers_.push_back(std::move(layer));
  return {};
}

std::size_t WritableStack::depth() const {
  const std::shared_lock lock(writers_);
  return layers_.size();
}

std::vector<WritableStack::Layer> WritableStack::layers() const {
  const std::shared_lock lock(writers_);
  return layers_;
}

SectorSet WritableStack::own_sectors() const {
  SectorSet own;
  for (const Layer& layer : layers()) own.merge(layer->own_sectors());
  return own;
}

WritableLayer::Usage WritableStack::usage() const {
  WritableLayer::Usage sum;
  for (const Layer& layer : layers()) {
    const WritableLayer::Usage usage = layer->usage();
    sum.data += usage.data;
    sum.garbage += usage.garbage;
    sum.segments += usage.segments;
  }
  return sum;
}

}  // namespace dadi::lsmt
