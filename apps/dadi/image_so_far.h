// An image between two steps of a build.
#pragma once

#include <filesystem>
#include <functional>
#include <vector>

#include "apps/dadi/temporary_folder.h"
#include "apps/image/image_place.h"
#include "libconvert/oci/image_store.h"
#include "libformat/lsmt/layer_reader.h"

namespace dadi {

// The base, which stays where it is, and the layers that were added to it. These are on their way to the destination,
// whose blobs nobody sees before it is committed, so each has a second name among the temporary files: a link, or a
// copy where there is another file system. One thread.
class ImageSoFar {
 public:
  // `layers`: the base's, bottom first. Errors: those of making a folder.
  static Result<ImageSoFar> begin(ImagePlace base, std::vector<lsmt::LayerReader> layers);

  // Has what is written to `destination` from now on named here, too, until the destination is told otherwise. Call
  // before each step; the destination may outlive this only if it is not written to.
  void watch(oci::ImageDestination& destination) const;

  // A layer on top of the others: one that was written since, or else `otherwise` gives it. Errors: those of that; io
  // (it could not be kept), those of opening it.
  Result<void> add(const Digest& blob, const std::function<Result<SharedBlob>()>& otherwise);

  // What another process finds the image by, while this lives.
  const ImagePlace& place() const { return place_; }
  const std::vector<lsmt::LayerReader>& layers() const { return layers_; }
  // For whatever a step needs; not there yet.
  std::filesystem::path scratch() const { return *folder_ / "scratch"; }

 private:
  ImageSoFar(ImagePlace place, std::vector<lsmt::LayerReader> layers, TemporaryFolder folder);

  ImagePlace place_;
  std::vector<lsmt::LayerReader> layers_;
  std::shared_ptr<const TemporaryFolder> folder_;  // shared with who is told of blobs
};

}  // namespace dadi
