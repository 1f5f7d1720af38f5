#include "libconvert/pipeline/blob_copies.h"

namespace dadi::pipeline {

Result<void> BlobCopies::copy(const oci::Descriptor& blob) {
  if (!seen_.insert(blob.digest).second) return {};
  if (stop_.stop_requested()) return Error::cancelled("stopped");
  DADI_TRY(const bool there, destination_.has_blob(blob.digest, blob.size));
  if (there) {
    ++counts_.blobs_there;
    return {};
  }
  observer_.blob_started(blob);
  DADI_TRY(const auto stream, source_.stream_blob(blob, {.stop = stop_}));
  DADI_TRY(const auto sink, destination_.create_blob({0}));
  Bytes done;
  for (;;) {
    if (stop_.stop_requested()) return Error::cancelled("stopped");
    DADI_TRY(const auto piece, stream->next());
    if (piece.empty()) break;
    DADI_CHECK(sink->write(piece));
    observer_.blob_read(done += Bytes{piece.size()});
  }
  DADI_CHECK(sink->finish({}));
  observer_.blob_finished();
  ++counts_.blobs_copied;
  counts_.bytes_copied += blob.size;
  return {};
}

}  // namespace dadi::pipeline
