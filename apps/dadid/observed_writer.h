// Hearing of writes that fail.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "libformat/blob/block_writer.h"

namespace dadi {

// Passes writes on, and tells of each that failed, in the thread that made it. Thread-safe.
class ObservedWriter final : public BlockWriter {
 public:
  using Observer = std::function<void(const Error&)>;

  ObservedWriter(std::shared_ptr<BlockWriter> writer, Observer observer)
      : writer_(std::move(writer)), observer_(std::move(observer)) {}

  Result<void> write_at(Sectors at, std::span<const std::byte> data) override {
    return told(writer_->write_at(at, data));
  }
  Result<void> write_zeroes(Sectors at, Sectors length) override { return told(writer_->write_zeroes(at, length)); }
  Result<void> discard(Sectors at, Sectors length) override { return told(writer_->discard(at, length)); }
  Result<void> flush() override { return told(writer_->flush()); }

 private:
  Result<void> told(Result<void> result) const {
    if (!result) observer_(result.error());
    return result;
  }

  std::shared_ptr<BlockWriter> writer_;
  Observer observer_;
};

}  // namespace dadi
