// The blobs of an image that is being written, each under its digest in a staging folder. Internal to this folder.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "libconvert/oci/image_store.h"
#include "libconvert/oci/staging.h"
#include "libformat/base/digest.h"
#include "libformat/base/units.h"
#include "libformat/blob/file_blob.h"

namespace dadi::oci {

// What lies in the folder is all there is to know. Thread-safe; the sinks are for one thread each.
class StagedBlobs {
 public:
  struct Blob {
    Digest digest;
    Bytes size;
    std::filesystem::path path;
  };

  // In a new staging folder within `parent`. `durable`: kContent for blobs that get another name in the end, kNothing
  // for those that are copied elsewhere. Errors: those of StagingFolder::create().
  static Result<StagedBlobs> create(const std::filesystem::path& parent, FileBlobSink::Durable durable);

  Result<std::unique_ptr<BlobSink>> create(Bytes head_size) const;
  // See ImageDestination.
  ImageDestination::Finished on_finished(ImageDestination::Finished told) {
    return std::exchange(told_, std::move(told));
  }
  bool contains(const Digest& digest, Bytes size) const;
  // The finished ones, ordered by digest.
  Result<std::vector<Blob>> list() const;

  // Something else, on its way to a final name: where it is now. `name` is no digest.
  Result<std::filesystem::path> write_document(std::string_view name, std::string_view content) const;
  const std::filesystem::path& folder() const { return folder_.path(); }

 private:
  StagedBlobs(StagingFolder folder, FileBlobSink::Durable durable) : folder_(std::move(folder)), durable_(durable) {}

  StagingFolder folder_;
  FileBlobSink::Durable durable_;
  ImageDestination::Finished told_;
};

}  // namespace dadi::oci
