// A blob in memory, and a window onto another blob.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "libformat/blob/blob_reader.h"

namespace dadi {

// Owns its bytes. Thread-safe.
class MemoryBlob final : public BlobReader {
 public:
  explicit MemoryBlob(std::vector<std::byte> data) : data_(std::move(data)) {}

  Bytes size() const override { return {data_.size()}; }
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const override;

 private:
  std::vector<std::byte> data_;
};

// The bytes [start, start + size) of another blob. Thread-safe.
class BlobWindow final : public BlobReader {
 public:
  // REQUIRES: the window lies within the blob.
  BlobWindow(SharedBlob blob, Bytes start, Bytes size) : blob_(std::move(blob)), start_(start), size_(size) {}

  Bytes size() const override { return size_; }
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const override;

 private:
  SharedBlob blob_;
  Bytes start_;
  Bytes size_;
};

}  // namespace dadi
