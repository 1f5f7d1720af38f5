#include "libconvert/pipeline/layer_blob.h"

#include <algorithm>
#include <array>
#include <vector>

namespace dadi::pipeline {

Result<std::unique_ptr<LayerBlob>> LayerBlob::create(std::unique_ptr<BlobSink> sink, const lsmt::LayerInfo& info,
                                                     CompressionWorkers& workers) {
  std::unique_ptr<LayerBlob> blob(new LayerBlob);
  blob->sink_ = std::move(sink);
  blob->compressor_ = std::make_unique<BlockCompressor>(*blob->sink_, workers);
  DADI_TRY(blob->layer_, lsmt::LayerWriter::create(*blob->compressor_, info));
  return blob;
}

Result<lsmt::LayerWriter::Summary> LayerBlob::finish_layer() {
  auto summary = layer_->finish();
  layer_.reset();  // its map is large
  return summary;
}

Result<BlobIdentity> LayerBlob::finish() {
  DADI_TRY(const auto zfile, compressor_->finish());
  const std::vector<std::byte> tail(tar_envelope::tail_size(zfile.size).value);
  DADI_CHECK(sink_->write(tail));
  const auto envelope = tar_envelope::head(zfile.size);
  std::array<std::byte, kLayerBlobHead.value> head;
  std::ranges::copy(zfile.header, std::ranges::copy(envelope, head.begin()).out);
  return sink_->finish(head);
}

}  // namespace dadi::pipeline
