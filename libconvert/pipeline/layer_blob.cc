#include "libconvert/pipeline/layer_blob.h"

#include <algorithm>
#include <array>
#include <vector>

namespace dadi::pipeline {

Result<std::unique_ptr<LayerBlob>> LayerBlob::create(std::unique_ptr<BlobSink> sink, const lsmt::LayerInfo& info,
                                                     const zfile::Options& options, unsigned workers) {
  std::unique_ptr<LayerBlob> blob(new LayerBlob);
  blob->sink_ = std::move(sink);
  DADI_TRY(blob->compressor_, BlockCompressor::create(*blob->sink_, options, workers));
  DADI_TRY(blob->layer_, lsmt::LayerWriter::create(*blob->compressor_, info));
  return blob;
}

Result<LayerBlob::Finished> LayerBlob::finish() {
  DADI_TRY(const auto layer, layer_->finish());
  DADI_TRY(const auto zfile, compressor_->finish());
  const std::vector<std::byte> tail(tar_envelope::tail_size(zfile.size).value);
  DADI_CHECK(sink_->write(tail));
  const auto envelope = tar_envelope::head(zfile.size);
  std::array<std::byte, kLayerBlobHead.value> head;
  std::ranges::copy(zfile.header, std::ranges::copy(envelope, head.begin()).out);
  DADI_TRY(const BlobIdentity identity, sink_->finish(head));
  return Finished{identity, layer};
}

}  // namespace dadi::pipeline
