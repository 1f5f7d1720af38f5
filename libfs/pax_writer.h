// Writing tar archives in the pax form. Source of the format: POSIX.1-2017, pax, "pax Interchange Format"; extended
// attributes as star keeps them, in SCHILY.xattr records. (libarchive's own writer brings those of all other formats
// along when it is linked statically, and what they need.)
#pragma once

#include "libformat/blob/byte_stream.h"
#include "libfs/layer_archive.h"

namespace dadi::fs {

// The bytes depend on the calls alone. One thread at a time.
class PaxWriter {
 public:
  // `out` must outlive this.
  explicit PaxWriter(ByteSink& out) : out_(out) {}

  // A header. The entry's path has no slash at its ends; `size` is that of the content that follows, 0 for all but
  // regular files. Errors here and below: those of the sink.
  Result<void> begin(const ArchiveEntry& entry);
  // Content of the entry: all of its size, in pieces, before anything else.
  Result<void> data(std::span<const std::byte> piece);
  // Its end. REQUIRES: all of it was given.
  Result<void> end();

  // The archive's end. Call once, last.
  Result<void> finish();

 private:
  ByteSink& out_;
  Bytes size_;  // of the entry's content so far
};

}  // namespace dadi::fs
