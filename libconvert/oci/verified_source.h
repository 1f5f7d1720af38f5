// Blobs as streams that cannot lie.
#pragma once

#include <memory>
#include <vector>

#include "libconvert/oci/descriptor.h"
#include "libformat/blob/blob_reader.h"
#include "libformat/blob/byte_stream.h"

namespace dadi::oci {

// A blob from its first byte to its last, in pieces of 256 KiB. One thread at a time.
class BlobStream final : public ByteSource {
 public:
  explicit BlobStream(SharedBlob blob, ReadContext context = {});

  Result<std::span<const std::byte>> next() override;

 private:
  SharedBlob blob_;
  ReadContext context_;
  Bytes position_;
  std::vector<std::byte> buffer_;
};

// Passes another stream on, and fails with corruption, naming the digest, when it is longer, shorter or different from
// what a descriptor says. What was passed on is to be trusted only once next() has said that the stream is at its end:
// a consumer that is done earlier reads on until then. One thread at a time.
class VerifiedSource final : public ByteSource {
 public:
  VerifiedSource(std::unique_ptr<ByteSource> source, Digest digest, Bytes size)
      : source_(std::move(source)), digest_(digest), size_(size) {}

  Result<std::span<const std::byte>> next() override;

 private:
  std::unique_ptr<ByteSource> source_;
  Digest digest_;
  Bytes size_;
  Bytes seen_;
  Hasher hasher_;
  bool verified_ = false;
};

}  // namespace dadi::oci
