// Reading a ZFile: a blob compressed in blocks that are decompressed one by one. Format: formats.md, section 2.
#pragma once

#include <memory>
#include <vector>

#include "libformat/blob/blob_reader.h"
#include "libformat/zfile/codec.h"
#include "libformat/zfile/jump_table.h"

namespace dadi::zfile {

// What a ZFile says about itself.
struct Info {
  Algorithm algorithm = Algorithm::kLz4;
  std::uint32_t block_size = 0;  // in bytes
  std::uint64_t blocks = 0;
  bool verify = false;                // blocks carry checksums
  bool digests = false;               // header, trailer and jump table carry checksums
  bool header_authoritative = false;  // the header was rewritten at the end, and can be used without the trailer
  std::uint32_t longest_stored = 0;   // bytes of the longest stored block, checksum included
  Bytes raw_size{};                   // uncompressed
  Bytes stored_size{};                // of the whole ZFile
};

// Whether the blob begins with a ZFile's magic. Errors: those of the blob.
Result<bool> is_zfile(const BlobReader& blob, const ReadContext& context = {});

// The uncompressed bytes of a ZFile. Every block's checksum is verified when it is read, if it has one. No block is
// kept: caches are wrapped around this. Old ZFiles, with garbage in reserved fields, are read by what their trailer
// says. Memory: 4.1 bytes a block. Thread-safe.
class Reader final : public BlobReader {
 public:
  // Reads and checks header, trailer and jump table.
  // Errors: corruption (they contradict themselves, each other or the blob's size), unsupported (dictionaries, a
  // compressed jump table, other algorithms), those of the blob.
  static Result<std::shared_ptr<const Reader>> open(SharedBlob blob, const ReadContext& context = {});

  const Info& info() const { return info_; }

  Bytes size() const override { return info_.raw_size; }
  // Errors: those of BlobReader, the block named.
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context = {}) const override;

  // Single blocks, for callers that fetch, cache or decompress in threads of their own. REQUIRES: block <
  // info().blocks.
  const BlobReader& stored() const { return *blob_; }  // the ZFile's own bytes
  struct StoredRange {
    Bytes offset{};  // in the ZFile
    Bytes size{};    // checksum included
  };
  StoredRange stored_range(std::uint64_t block) const;
  std::size_t raw_size(std::uint64_t block) const;  // the last block may be shorter than the others
  // Fills `out` with the block whose stored bytes are given. REQUIRES: out.size() == raw_size(block).
  // Errors: corruption, the block named.
  Result<void> decode(std::uint64_t block, std::span<const std::byte> stored, std::span<std::byte> out) const;

 private:
  Reader(SharedBlob blob, const Info& info, JumpTable table);

  Result<void> decode_run(std::uint64_t first, std::uint64_t last, Bytes offset, std::span<std::byte> out,
                          std::vector<std::byte>& stored, const ReadContext& context) const;

  SharedBlob blob_;
  Info info_;
  JumpTable table_;
};

}  // namespace dadi::zfile
