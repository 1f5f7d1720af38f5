// Writing a ZFile from blocks that were compressed elsewhere. Format: formats.md, sections 2 and 11.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "libformat/blob/byte_stream.h"
#include "libformat/zfile/codec.h"
#include "libformat/zfile/format.h"

namespace dadi::zfile {

// Puts stored blocks in order and ends them with jump table and trailer. The header is known last and goes in front of
// everything: the caller leaves room for it (BlobSink). Memory: 4 bytes a block. One thread at a time.
class Writer {
 public:
  // `out` takes everything behind the header, and must outlive this. REQUIRES: `options` pass check_options.
  Writer(ByteSink& out, const Options& options) : out_(out), options_(options) {}

  // Appends the next block: `stored` as BlockEncoder gives it for `raw_size` bytes. Only the last may be shorter than
  // the block size. Errors: invalid_argument (a block after a short one, a size out of range), those of the sink.
  Result<void> add(std::span<const std::byte> stored, std::size_t raw_size);

  // Appends blocks that lie one behind the other in `stored`, `lengths` bytes each, for `raw_size` bytes together: all
  // but the last stand for a whole block. One call of the sink. Errors: as above; invalid_argument (lengths or sizes
  // that do not add up).
  Result<void> add(std::span<const std::byte> stored, std::span<const std::uint32_t> lengths, Bytes raw_size);

  struct Finished {
    std::array<std::byte, kRecordSize> header;
    Bytes size;  // of the whole ZFile, header included
  };
  // Writes jump table and trailer. Call at most once, last. Errors: those of the sink.
  Result<Finished> finish();

 private:
  Result<void> check_block(std::size_t stored, std::uint64_t raw_size) const;

  ByteSink& out_;
  Options options_;
  std::vector<std::uint32_t> lengths_;
  Bytes position_{kRecordSize};  // in the ZFile
  Bytes raw_size_;
};

}  // namespace dadi::zfile
