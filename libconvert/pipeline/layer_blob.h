// The blob of a block layer on its way into a store: tar envelope, ZFile, LSMT, one within the other.
#pragma once

#include <memory>

#include "libconvert/pipeline/block_compressor.h"
#include "libformat/blob/byte_stream.h"
#include "libformat/lsmt/layer_writer.h"
#include "libformat/tar_envelope/tar_envelope.h"

namespace dadi::pipeline {

// What is reserved in front of a blob: the envelope's headers and the ZFile's.
inline constexpr Bytes kLayerBlobHead{tar_envelope::kHeadSize.value + 512};

// One thread at a time.
class LayerBlob {
 public:
  // `sink` was made with kLayerBlobHead of room; `workers` are borrowed. Errors: invalid_argument (info), those of the
  // sink.
  static Result<std::unique_ptr<LayerBlob>> create(std::unique_ptr<BlobSink> sink, const lsmt::LayerInfo& info,
                                                   CompressionWorkers& workers);

  lsmt::LayerWriter& layer() { return *layer_; }

  // The layer is complete. Call at most once, and not layer() after it.
  Result<lsmt::LayerWriter::Summary> finish_layer();

  // Completes and publishes the blob: what is still being compressed, its digest, its way to the disk. Call at most
  // once, last. Of several blobs that share workers, all but one must be in here, or about to be: see BlockCompressor.
  Result<BlobIdentity> finish();

 private:
  LayerBlob() = default;

  std::unique_ptr<BlobSink> sink_;
  std::unique_ptr<BlockCompressor> compressor_;
  std::unique_ptr<lsmt::LayerWriter> layer_;
};

}  // namespace dadi::pipeline
