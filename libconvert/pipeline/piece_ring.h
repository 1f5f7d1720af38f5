// A bounded queue between the threads of a conversion: pieces of a stream in buffers that are used again and again, so
// that bytes are handed on without being copied.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "libformat/base/result.h"

namespace dadi::pipeline {

// One thread fills the pieces, in order; every reader gets each of them, in order. A buffer is filled again once all
// readers are done with it, and made when it is first needed.
class PieceRing {
 public:
  // At most `count` pieces of up to `size` bytes wait or are being read.
  PieceRing(std::size_t count, std::size_t size, std::size_t readers)
      : pieces_(count), size_(size), readers_(readers) {}

  // The next buffer to fill. Waits until there is room; none once stop() was called.
  std::span<std::byte> buffer();
  // The first `size` bytes of that buffer are a piece. REQUIRES: size > 0.
  void filled(std::size_t size);
  // There are no more pieces, or there is an error instead of the next.
  void end(Result<void> result);

  // The next piece, valid until the next call for the same reader, which gives it back; none at the end of the stream,
  // or when stopped. Errors: that which the stream ended with, every time again.
  Result<std::span<const std::byte>> next(std::size_t reader);

  // Nobody waits any more, neither for room nor for pieces.
  void stop();

 private:
  struct Piece {
    std::unique_ptr<std::byte[]> bytes;
    std::size_t size = 0;
  };
  struct Reader {
    std::size_t given = 0;  // pieces, in all
    std::size_t done = 0;   // of them
  };

  std::size_t oldest() const;

  std::vector<Piece> pieces_;
  const std::size_t size_;
  std::mutex mutex_;
  std::condition_variable room_;
  std::condition_variable more_;
  std::size_t filled_ = 0;  // pieces, in all
  std::vector<Reader> readers_;
  std::optional<Result<void>> end_;
  bool stopped_ = false;
};

}  // namespace dadi::pipeline
