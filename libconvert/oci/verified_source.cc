#include "libconvert/oci/verified_source.h"

#include <algorithm>

namespace dadi::oci {

namespace {
constexpr std::size_t kPiece = std::size_t{256} << 10;
}

BlobStream::BlobStream(SharedBlob blob, ReadContext context)
    : blob_(std::move(blob)),
      context_(std::move(context)),
      buffer_(std::min<std::uint64_t>(kPiece, blob_->size().value)) {}

Result<std::span<const std::byte>> BlobStream::next() {
  if (context_.stop.stop_requested()) return Error::cancelled("stopped");
  const auto piece =
      std::span(buffer_).first(std::min<std::uint64_t>(buffer_.size(), (blob_->size() - position_).value));
  DADI_CHECK(blob_->read_at(position_, piece, context_));
  position_ += Bytes{piece.size()};
  return std::span<const std::byte>(piece);
}

Result<std::span<const std::byte>> VerifiedSource::next() {
  DADI_TRY(const auto piece, source_->next());
  if (piece.size() > (size_ - seen_).value)
    return Error::corruption("blob {} is longer than the {} bytes of its descriptor", digest_.to_string(), size_.value);
  seen_ += Bytes{piece.size()};
  if (!piece.empty()) {
    hasher_.update(piece);
    return piece;
  }
  if (verified_) return piece;
  if (seen_ != size_)
    return Error::corruption("blob {} ends after {} of the {} bytes of its descriptor", digest_.to_string(),
                             seen_.value, size_.value);
  if (const Digest digest = hasher_.finish(); digest != digest_)
    return Error::corruption("blob {} has the content of {}", digest_.to_string(), digest.to_string());
  verified_ = true;
  return piece;
}

}  // namespace dadi::oci
