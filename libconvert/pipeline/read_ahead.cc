#include "libconvert/pipeline/read_ahead.h"

#include <algorithm>
#include <cstring>
#include <thread>

#include "libconvert/pipeline/piece_ring.h"

namespace dadi::pipeline {

namespace {

constexpr std::size_t kPieces = 8;
constexpr std::size_t kPiece = std::size_t{256} << 10;  // small pieces are gathered up to this

class ReadAhead final : public ByteSource {
 public:
  explicit ReadAhead(std::unique_ptr<ByteSource> source)
      : source_(std::move(source)), ring_(kPieces, kPiece, 1), thread_([this] { ring_.end(pump()); }) {}

  ~ReadAhead() override { ring_.stop(); }

  Result<std::span<const std::byte>> next() override { return ring_.next(0); }

 private:
  Result<void> pump() {
    std::span<std::byte> buffer = ring_.buffer();
    std::size_t used = 0;
    while (!buffer.empty()) {
      DADI_TRY(auto bytes, source_->next());
      if (bytes.empty()) break;
      while (!bytes.empty() && !buffer.empty()) {
        const auto part = bytes.first(std::min(bytes.size(), buffer.size() - used));
        std::memcpy(buffer.data() + used, part.data(), part.size());
        used += part.size();
        bytes = bytes.subspan(part.size());
        if (used < buffer.size()) continue;
        ring_.filled(used);
        used = 0;
        buffer = ring_.buffer();
      }
    }
    if (used > 0) ring_.filled(used);
    return {};
  }

  std::unique_ptr<ByteSource> source_;
  PieceRing ring_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace

std::unique_ptr<ByteSource> read_ahead(std::unique_ptr<ByteSource> source) {
  return std::make_unique<ReadAhead>(std::move(source));
}

}  // namespace dadi::pipeline
