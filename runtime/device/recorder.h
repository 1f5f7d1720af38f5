// Recording what is read of a device: traces, as they come to be.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "libformat/blob/blob_reader.h"
#include "libformat/trace/trace.h"

namespace dadi::runtime {

// Reads of layers, in the order in which they ended; those after trace::kMostReads are left out. Thread-safe.
class Recorder {
 public:
  void note(const trace::Read& read);

  std::vector<trace::Read> reads() const;

 private:
  mutable std::mutex mutex_;
  std::vector<trace::Read> reads_;
};

// A layer's uncompressed bytes, whose reads are noted when they succeed. Thread-safe.
class RecordedLayer final : public BlobReader {
 public:
  RecordedLayer(SharedBlob layer, std::uint32_t number, std::shared_ptr<Recorder> recorder)
      : layer_(std::move(layer)), number_(number), recorder_(std::move(recorder)) {}

  Bytes size() const override { return layer_->size(); }
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context = {}) const override;

 private:
  const SharedBlob layer_;
  const std::uint32_t number_;
  const std::shared_ptr<Recorder> recorder_;
};

}  // namespace dadi::runtime
