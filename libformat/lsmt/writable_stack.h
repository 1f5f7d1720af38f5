// Writable layers that lie on each other, of which the topmost is written to.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <shared_mutex>
#include <vector>

#include "libformat/lsmt/writable_layer.h"

namespace dadi::lsmt {

// One device, whatever lies on whatever: a layer that is put on top changes what is written to, and nothing that is
// read. Layers below it are as they are from then on, and stay open as long as this. Thread-safe.
class WritableStack final : public BlockReader, public BlockWriter {
 public:
  using Layer = std::shared_ptr<WritableLayer>;

  // Bottom first; each was opened on the one below. `begin`: random. REQUIRES: there is one.
  WritableStack(std::vector<Layer> layers, std::uint64_t begin);

  Sectors size() const override { return top().size(); }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context = {}) const override {
    return top().read_at(at, out, context);
  }
  Result<Extent> next_extent(Sectors at) const override { return top().next_extent(at); }

  Result<void> write_at(Sectors at, std::span<const std::byte> data) override;
  Result<void> write_zeroes(Sectors at, Sectors length) override;
  Result<void> discard(Sectors at, Sectors length) override;
  Result<void> flush() override;

  // Grows with every change, from a number that no other stack began with: that of a moment when nobody wrote.
  std::uint64_t changes() const { return changes_.load(); }

  // Puts a layer on top that was made for what the device held after so many changes(), once that is flushed. Writes
  // and flushes wait meanwhile, which is not to be drawn out: `open` opens the layer on the device that it is given;
  // `publish` says to others that it is there. When this fails, everything is as before.
  // Errors: busy (there were other changes since), invalid_argument (a layer of another size), those of flush() and
  // both.
  Result<void> put_on_top(std::uint64_t changes,
                          const std::function<Result<Layer>(std::shared_ptr<const BlockReader> below)>& open,
                          const std::function<Result<void>()>& publish);

  std::size_t depth() const;                          // layers
  WritableForm form() const { return top().form(); }  // of the layer that is written to
  // Where one of the layers answers, and not the device below.
  SectorSet own_sectors() const;
  // Of all layers.
  WritableLayer::Usage usage() const;

 private:
  WritableLayer& top() const { return *top_.load(std::memory_order_acquire); }
  std::vector<Layer> layers() const;

  mutable std::shared_mutex writers_;  // shared by who writes or flushes
  std::vector<Layer> layers_;          // guarded by writers_
  std::atomic<std::uint64_t> changes_;
  std::atomic<WritableLayer*> top_;
};

}  // namespace dadi::lsmt
