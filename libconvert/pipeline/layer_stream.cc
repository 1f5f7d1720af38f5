#include "libconvert/pipeline/layer_stream.h"

#include <algorithm>
#include <optional>
#include <thread>

#include "libconvert/pipeline/decompressed_source.h"
#include "libconvert/pipeline/piece_ring.h"
#include "libconvert/pipeline/read_ahead.h"

namespace dadi::pipeline {

namespace {

constexpr std::size_t kPiece = std::size_t{512} << 10;  // of the tar stream: two threads find it in their caches
constexpr std::size_t kFewestPieces = 4;

// A layer's blob, opened with the first call, which may take its time. Counts what passes, and stops on request.
class LayerBlobSource final : public ByteSource {
 public:
  LayerBlobSource(OpenLayer open, std::stop_token stop, ByteProgress progress)
      : open_(std::move(open)), progress_(std::move(progress)) {
    context_.stop = std::move(stop);
  }

  Result<std::span<const std::byte>> next() override {
    if (context_.stop.stop_requested()) return Error::cancelled("stopped");
    if (!blob_) {
      DADI_TRY(blob_, open_(context_));
    }
    DADI_TRY(const auto piece, blob_->next());
    seen_ += Bytes{piece.size()};
    if (progress_) progress_(seen_);
    return piece;
  }

 private:
  OpenLayer open_;
  ReadContext context_;
  ByteProgress progress_;
  std::unique_ptr<ByteSource> blob_;
  Bytes seen_;
};

class LayerStream final : public ByteSource {
 public:
  LayerStream(OpenLayer open, const Digest& diff_id, LayerStreamOptions options)
      : diff_id_(diff_id),
        asked_(options.stop, [this] { stop_.request_stop(); }),
        ring_(std::max<std::size_t>(kFewestPieces, options.ahead.value / kPiece), kPiece, kReaders),
        blob_(read_ahead(
            std::make_unique<LayerBlobSource>(std::move(open), stop_.get_token(), std::move(options.progress)))),
        hashing_([this] { found_ = hash(); }),
        decompressing_([this] { ring_.end(decompress()); }) {}

  ~LayerStream() override {
    stop_.request_stop();
    ring_.stop();
  }

  Result<std::span<const std::byte>> next() override {
    DADI_TRY(const auto piece, ring_.next(kConsumer));
    if (!piece.empty()) return piece;
    if (hashing_.joinable()) hashing_.join();
    if (*found_ != diff_id_)
      return Error::corruption("the diff id is {}, but the layer's content has {}", diff_id_.to_string(),
                               found_->to_string());
    return piece;
  }

 private:
  enum : std::size_t { kConsumer, kHashing, kReaders };

  Result<void> decompress() {
    DADI_TRY(const auto source, DecompressedSource::open(std::move(blob_)));
    while (true) {
      const std::span<std::byte> buffer = ring_.buffer();
      if (buffer.empty()) return {};
      DADI_TRY(const std::size_t size, source->read(buffer));
      if (size == 0) return {};
      ring_.filled(size);
    }
  }

  Digest hash() {
    Hasher hasher;
    while (true) {
      const auto piece = ring_.next(kHashing);
      if (!piece || piece->empty()) return hasher.finish();  // an error is for the consumer to see
      hasher.update(*piece);
    }
  }

  Digest diff_id_;
  std::stop_source stop_;
  std::stop_callback<std::function<void()>> asked_;
  PieceRing ring_;
  std::unique_ptr<ByteSource> blob_;
  std::optional<Digest> found_;
  std::jthread hashing_;  // the threads last: they use all of the above
  std::jthread decompressing_;
};

}  // namespace

OpenLayer opener(const oci::ImageSource& source, const oci::Descriptor& layer) {
  return [&source, layer](const ReadContext& context) { return source.stream_blob(layer, context); };
}

std::unique_ptr<ByteSource> open_layer_stream(OpenLayer open, const Digest& diff_id, LayerStreamOptions options) {
  return std::make_unique<LayerStream>(std::move(open), diff_id, std::move(options));
}

}  // namespace dadi::pipeline
