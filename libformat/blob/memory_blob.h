// A blob in memory, a window onto another blob, and bytes laid over one.
#pragma once

#include <algorithm>
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

// Another blob but for the bytes from `start` on, which may reach behind its end. Thread-safe.
class LaidOverBlob final : public BlobReader {
 public:
  // REQUIRES: start <= blob->size().
  LaidOverBlob(SharedBlob blob, Bytes start, std::vector<std::byte> bytes)
      : blob_(std::move(blob)), start_(start), bytes_(std::move(bytes)) {}

  Bytes size() const override { return std::max(blob_->size(), start_ + Bytes{bytes_.size()}); }
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const override;

 private:
  SharedBlob blob_;
  Bytes start_;
  std::vector<std::byte> bytes_;
};

}  // namespace dadi
