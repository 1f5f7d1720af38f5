// Memory for requests and replies.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <utility>
#include <vector>

namespace dadi::nbd {

// Bytes that are not initialised. Move-only; empty when there was no memory.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t size) : data_(new (std::nothrow) std::byte[size]), size_(data_ ? size : 0) {}
  Buffer(Buffer&& other) noexcept : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  std::span<std::byte> bytes() { return {data_.get(), size_}; }
  std::span<const std::byte> bytes() const { return {data_.get(), size_}; }
  std::size_t size() const { return size_; }

 private:
  std::unique_ptr<std::byte[]> data_;
  std::size_t size_ = 0;
};

// Buffers that were used and may be used again: fresh memory costs more than what is read into it. One thread.
class SpareBuffers {
 public:
  // Of at least `size` bytes; with none if there is no memory.
  Buffer take(std::size_t size);
  void give(Buffer buffer);
  bool empty() const { return spare_.empty(); }
  // Lets the memory go.
  void clear() {
    spare_.clear();
    held_ = 0;
  }

 private:
  std::vector<Buffer> spare_;
  std::size_t held_ = 0;  // bytes
};

}  // namespace dadi::nbd
