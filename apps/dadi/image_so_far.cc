#include "apps/dadi/image_so_far.h"

#include <memory>

#include "libconvert/oci/verified_source.h"
#include "libformat/blob/file_blob.h"
#include "libformat/layer_file.h"

namespace dadi {

namespace {

Result<void> copy_into(const std::filesystem::path& folder, const SharedBlob& blob) {
  const auto name = [](const Digest& digest) { return digest.hex(); };
  DADI_TRY(const auto sink, FileBlobSink::create(folder, {}, name, FileBlobSink::Durable::kNothing));
  oci::BlobStream content(blob);
  for (;;) {
    DADI_TRY(const auto piece, content.next());
    if (piece.empty()) break;
    DADI_CHECK(sink->write(piece));
  }
  DADI_CHECK(sink->finish({}));
  return {};
}

}  // namespace

Result<ImageSoFar> ImageSoFar::begin(ImagePlace base, std::vector<lsmt::LayerReader> layers) {
  DADI_TRY(TemporaryFolder folder, TemporaryFolder::make("dadi-build"));
  return ImageSoFar(std::move(base), std::move(layers), std::move(folder));
}

ImageSoFar::ImageSoFar(ImagePlace place, std::vector<lsmt::LayerReader> layers, TemporaryFolder folder)
    : place_(std::move(place)),
      layers_(std::move(layers)),
      folder_(std::make_shared<const TemporaryFolder>(std::move(folder))) {}

void ImageSoFar::watch(oci::ImageDestination& destination) const {
  destination.on_finished([folder = folder_](const std::filesystem::path& file, const BlobIdentity& blob) {
    std::error_code failed;
    const std::filesystem::path here = *folder / blob.digest.hex();
    std::filesystem::create_hard_link(file, here, failed);
    // What could not be copied is missed by add().
    if (failed) std::filesystem::copy_file(file, here, std::filesystem::copy_options::overwrite_existing, failed);
  });
}

Result<void> ImageSoFar::add(const Digest& blob, const std::function<Result<SharedBlob>()>& otherwise) {
  const std::filesystem::path file = *folder_ / blob.hex();
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) {
    DADI_TRY(const SharedBlob content, otherwise());
    DADI_CHECK(copy_into(file.parent_path(), content));
  }
  DADI_TRY(SharedBlob opened, FileBlob::open(file).context("the layer that was just written"));
  DADI_TRY(LayerFile layer, open_layer_file(std::move(opened)));
  layers_.push_back(std::move(layer.layer));
  place_.reach.on_top.push_back(file.string());
  return {};
}

}  // namespace dadi
