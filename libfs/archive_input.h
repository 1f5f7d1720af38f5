// The bytes on their way from a ByteSource to libarchive, in pieces, none copied; those since a mark can be seen again.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "libformat/blob/byte_stream.h"

namespace dadi::fs {

// One thread at a time.
class ArchiveInput {
 public:
  // `source` is borrowed.
  explicit ArchiveInput(ByteSource& source) : source_(&source) {}

  // Whether the source has nothing (more) to give. Errors: those of the source.
  Result<bool> at_end();

  // The next piece, valid until the next call; none at the end of the source. Errors: those of the source.
  Result<std::span<const std::byte>> next_piece();

  // Remembers all bytes from `position` on, until forget(). There is a mark at the start.
  // REQUIRES: `position` lies in the last piece, at its end, or at or after the last mark if that is remembered still.
  void mark(Bytes position);
  // From the next piece on, nothing is remembered.
  void forget() { remembering_ = false; }
  // What came between the mark and `end`. Valid until the next call of any method. REQUIRES: it is remembered, and
  // `end` is at most delivered().
  std::span<const std::byte> since_mark(Bytes end);

  // How much next_piece() gave in all.
  Bytes delivered() const { return delivered_; }
  // How much memory the bytes since the mark take.
  Bytes remembered() const { return {kept_.size()}; }

 private:
  Bytes piece_start() const { return delivered_ - Bytes{piece_.size()}; }
  void retire_piece();

  ByteSource* source_;
  std::span<const std::byte> rest_;   // of what the source gave last: not delivered yet
  std::span<const std::byte> piece_;  // delivered last
  Bytes delivered_;
  bool source_ended_ = false;
  bool remembering_ = true;
  Bytes mark_;
  std::vector<std::byte> kept_;    // from the mark to where the last piece starts, if the mark is before that
  std::vector<std::byte> joined_;  // an answer of since_mark() that spans pieces
};

}  // namespace dadi::fs
