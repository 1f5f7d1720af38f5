// Single blocks of a ZFile: compressing and decompressing, with their checksums. Format: formats.md, section 2.2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "libformat/base/result.h"

struct ZSTD_CCtx_s;

namespace dadi::zfile {

// The numbers are those of the format.
enum class Algorithm : std::uint8_t { kLz4 = 1, kZstd = 2 };

std::string_view name_of(Algorithm algorithm);  // "lz4", "zstd"

// What a ZFile is written with.
struct Options {
  Algorithm algorithm = Algorithm::kLz4;
  int level = 3;                    // of zstd: 1 to 19; lz4 has none
  std::uint32_t block_size = 4096;  // in bytes, uncompressed: a power of two, 4096 to 32768
};

inline constexpr std::uint32_t kMinBlockSize = 4096;
inline constexpr std::uint32_t kMaxWrittenBlockSize = 32768;  // beyond, the reference may not read its own blocks
inline constexpr std::uint32_t kMaxBlockSize = 65536;         // that is read
inline constexpr std::size_t kChecksumSize = 4;

// Errors: invalid_argument, the option and its range named.
Result<void> check_options(const Options& options);

// The most bytes that a block of `raw_size` is stored in, without its checksum.
std::size_t max_compressed_size(Algorithm algorithm, std::size_t raw_size);

// Compresses blocks, each by itself: equal blocks and options give equal bytes, whatever came before. Keeps the
// codec's working memory. One thread at a time.
class BlockEncoder {
 public:
  // Errors: invalid_argument (see check_options).
  static Result<BlockEncoder> create(const Options& options);

  // Appends what is stored of `raw` to `out`: its compressed bytes and their checksum.
  // REQUIRES: raw.size() is 1 to the block size. Errors: internal (the codec failed), exhausted (memory).
  Result<void> encode(std::span<const std::byte> raw, std::vector<std::byte>& out);

 private:
  struct Free {
    void operator()(ZSTD_CCtx_s* context) const;
  };
  explicit BlockEncoder(const Options& options) : options_(options) {}

  Options options_;
  std::unique_ptr<ZSTD_CCtx_s, Free> zstd_;  // lz4 has no state
};

// Fills all of `out` from what is stored of a block. `verify`: whether a checksum follows its compressed bytes. Any
// thread; one that has decompressed zstd keeps the codec's working memory, 160 KB, until it ends.
// Errors: corruption (checksum, malformed compressed bytes, a block of another size), exhausted (memory).
Result<void> decode_block(Algorithm algorithm, bool verify, std::span<const std::byte> stored,
                          std::span<std::byte> out);

}  // namespace dadi::zfile
