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

  // Bottom first; each was opened on the one below. REQUIRES: there is one.
  explicit WritableStack(std::vector<Layer> layers);

  Sectors size() const override { return top().size(); }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context = {}) const override {
    return top().read_at(at, out, context);
  }
  Result<Extent> next_extent(Sectors at) const override { return top().next_extent(at); }

  Result<void> write_at(Sectors at, std::span<const std::byte> data) override;
  Result<void> write_zeroes(Sectors at, Sectors length) override;
  Result<void> discard(Sectors at, Sectors length) override;
  Result<void> flush() override;

  // Puts a layer on top, once all that was written is flushed. Writes and flushes wait meanwhile, which `open` should
  // not draw out: it opens the layer on the device that it is given. When it fails, everything is as before.
  // Errors: those of flush() and `open`; invalid_argument (a layer of another size).
  Result<void> put_on_top(const std::function<Result<Layer>(std::shared_ptr<const BlockReader> below)>& open);

  const LayerInfo& info() const { return bottom_->info(); }  // of the bottom layer
  WritableForm form() const { return top().form(); }
  // Where one of the layers answers, and not the device below.
  SectorSet own_sectors() const;
  // Of all layers.
  WritableLayer::Usage usage() const;

 private:
  WritableLayer& top() const { return *top_.load(std::memory_order_acquire); }
  std::vector<Layer> layers() const;

  const Layer bottom_;
  mutable std::shared_mutex changes_;  // shared by who writes or flushes
  std::vector<Layer> layers_;          // guarded by changes_
  std::atomic<WritableLayer*> top_;
};

}  // namespace dadi::lsmt
