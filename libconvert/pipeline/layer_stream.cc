#include "libconvert/pipeline/layer_stream.h"

#include "libconvert/pipeline/decompressed_source.h"
#include "libconvert/pipeline/read_ahead.h"

namespace dadi::pipeline {

namespace {

// Counts what passes, and stops on request.
class CountedSource final : public ByteSource {
 public:
  CountedSource(std::unique_ptr<ByteSource> source, std::stop_token stop, ByteProgress progress)
      : source_(std::move(source)), stop_(std::move(stop)), progress_(std::move(progress)) {}

  Result<std::span<const std::byte>> next() override {
    if (stop_.stop_requested()) return Error::cancelled("stopped");
    DADI_TRY(const auto piece, source_->next());
    seen_ += Bytes{piece.size()};
    if (progress_) progress_(seen_);
    return piece;
  }

 private:
  std::unique_ptr<ByteSource> source_;
  std::stop_token stop_;
  ByteProgress progress_;
  Bytes seen_;
};

// Passes a decompressed layer on, and fails at its end unless it has the diff id.
class DiffIdSource final : public ByteSource {
 public:
  DiffIdSource(std::unique_ptr<ByteSource> source, const Digest& diff_id)
      : source_(std::move(source)), diff_id_(diff_id) {}

  Result<std::span<const std::byte>> next() override {
    DADI_TRY(const auto piece, source_->next());
    if (!piece.empty()) {
      hasher_.update(piece);
      return piece;
    }
    if (!checked_) {
      if (const Digest found = hasher_.finish(); found != diff_id_)
        return Error::corruption("the diff id is {}, but the layer's content has {}", diff_id_.to_string(),
                                 found.to_string());
      checked_ = true;
    }
    return piece;
  }

 private:
  std::unique_ptr<ByteSource> source_;
  Digest diff_id_;
  Hasher hasher_;
  bool checked_ = false;
};

}  // namespace

Result<std::unique_ptr<ByteSource>> open_layer_stream(const oci::ImageSource& source, const oci::Descriptor& layer,
                                                      const Digest& diff_id, LayerStreamOptions options) {
  ReadContext context;
  context.stop = options.stop;
  DADI_TRY(auto blob, source.stream_blob(layer, context));
  auto counted = std::make_unique<CountedSource>(std::move(blob), std::move(options.stop), std::move(options.progress));
  DADI_TRY(auto decompressed, DecompressedSource::open(std::move(counted)));
  std::unique_ptr<ByteSource> checked = std::make_unique<DiffIdSource>(std::move(decompressed), diff_id);
  return options.read_ahead ? read_ahead(std::move(checked)) : std::move(checked);
}

}  // namespace dadi::pipeline
