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
  // `sink` was made with kLayerBlobHead of room. Errors: invalid_argument (options), those of the sink.
  static Result<std::unique_ptr<LayerBlob>> create(std::unique_ptr<BlobSink> sink, const lsmt::LayerInfo& info,
                                                   const zfile::Options& options, unsigned workers);

  lsmt::LayerWriter& layer() { return *layer_; }

  struct Finished {
    BlobIdentity blob;
    lsmt::LayerWriter::Summary layer;
  };
  // Completes and publishes the blob. Call at most once, last.
  Result<Finished> finish();

 private:
  LayerBlob() = default;

  std::unique_ptr<BlobSink> sink_;
  std::unique_ptr<BlockCompressor> compressor_;
  std::unique_ptr<lsmt::LayerWriter> layer_;
};

}  // namespace dadi::pipeline
