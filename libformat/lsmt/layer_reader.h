// Reading one layer. Formats: formats.md, sections 1.3 to 1.6.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "libformat/blob/file_blob.h"
#include "libformat/lsmt/header.h"
#include "libformat/lsmt/segment.h"

namespace dadi::lsmt {

// A layer's segments, checked, and its data. 32 bytes of memory a segment. Thread-safe.
class LayerReader {
 public:
  enum class Kind {
    kCommitted,
    kSealed,      // a writable layer that got its index at the end, in place
    kAppendOnly,  // writable: data, and a log of segments in a file of its own
    kSparse,      // writable: what is in a sparse file is the layer's
  };

  // Opens a committed or sealed layer, uncompressed and without its tar envelope.
  // Errors: corruption (header, trailer and index contradict themselves, each other or the blob's size), unsupported
  // (TurboOCI metadata, other versions), those of the blob.
  static Result<LayerReader> open(SharedBlob blob, const ReadContext& context = {});

  // Opens an append-only writable layer by replaying its log, in which the later record wins. A record that is cut off
  // at the log's end is left out: its write never completed. `flushes`, if there is one, is the log of small flushes
  // that a WritableLayer keeps (flush_log.h): it is read as if what it holds were in the two files.
  // Errors: corruption (a header, a record that points outside of the data), those of the blobs and read_flush_log().
  static Result<LayerReader> open_append_only(SharedBlob data, SharedBlob index, const SharedBlob& flushes = nullptr);

  // Opens a sparse writable layer: what the file system keeps as data is the layer's. What was discarded since has no
  // trace in this format; `discards`, if there is one, is the log of that which a WritableLayer keeps.
  // Errors: corruption (the header), those of the file.
  static Result<LayerReader> open_sparse(std::shared_ptr<const FileBlob> data, const SharedBlob& discards = nullptr);

  Kind kind() const { return kind_; }
  const LayerInfo& info() const { return info_; }

  // In device order, not overlapping, within the layer's file, without padding. In writable layers they may lie beyond
  // the virtual size.
  std::span<const Segment> segments() const { return segments_; }

  // The file that segments' moffsets point into.
  const SharedBlob& blob() const { return blob_; }

  // The same layer, read through another blob: one that has the same bytes, from a cache for example.
  LayerReader over(SharedBlob blob) &&;

  // Data from `moffset` on. REQUIRES: within a segment that is not zeroed. Errors: those of the blob.
  Result<void> read_data(Sectors moffset, std::span<std::byte> out, const ReadContext& context = {}) const;

 private:
  LayerReader(Kind kind, LayerInfo info, std::vector<Segment> segments, SharedBlob blob);

  Kind kind_;
  LayerInfo info_;
  std::vector<Segment> segments_;
  SharedBlob blob_;
};

}  // namespace dadi::lsmt
