#include "libformat/zfile/codec.h"

#include <lz4.h>
#include <zstd.h>

#include <bit>

#include "libformat/base/crc32c.h"
#include "libformat/base/endian.h"

namespace dadi::zfile {

namespace {

// The register that a block's checksum starts from: not 0, so that a hole of zeros does not verify.
constexpr std::uint32_t kChecksumSalt = 100007;
constexpr int kMaxZstdLevel = 19;  // beyond, working memory grows out of proportion to blocks of 32 KiB

char* chars(std::byte* data) {
  return reinterpret_cast<char*>(data);
}
const char* chars(const std::byte* data) {
  return reinterpret_cast<const char*>(data);
}

// Sizes of blocks are far below the range of an int.
Result<void> decompress_lz4(std::span<const std::byte> compressed, std::span<std::byte> out) {
  const int size = LZ4_decompress_safe(chars(compressed.data()), chars(out.data()), static_cast<int>(compressed.size()),
                                       static_cast<int>(out.size()));
  if (size < 0) return Error::corruption("does not decompress to {} bytes", out.size());
  if (static_cast<std::size_t>(size) != out.size())
    return Error::corruption("decompresses to {} bytes, not {}", size, out.size());
  return {};
}

// A thread's own, since every layer has threads reading from it that read from all the others too.
ZSTD_DCtx* zstd_context() {
  struct Free {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };
  thread_local std::unique_ptr<ZSTD_DCtx, Free> context;
  if (!context) context.reset(ZSTD_createDCtx());
  return context.get();
}

Result<void> decompress_zstd(std::span<const std::byte> compressed, std::span<std::byte> out) {
  ZSTD_DCtx* context = zstd_context();
  if (context == nullptr) return Error::exhausted("no memory to decompress with");
  // One frame and nothing else: the library would also take several, or frames that it skips.
  if (ZSTD_findFrameCompressedSize(compressed.data(), compressed.size()) != compressed.size())
    return Error::corruption("is not one zstd frame");
  const std::size_t size = ZSTD_decompressDCtx(context, out.data(), out.size(), compressed.data(), compressed.size());
  if (ZSTD_isError(size) != 0)
    return Error::corruption("does not decompress to {} bytes: {}", out.size(), ZSTD_getErrorName(size));
  if (size != out.size()) return Error::corruption("decompresses to {} bytes, not {}", size, out.size());
  return {};
}

}  // namespace

std::string_view name_of(Algorithm algorithm) {
  return algorithm == Algorithm::kLz4 ? "lz4" : "zstd";
}

Result<void> check_options(const Options& options) {
  if (options.block_size < kMinBlockSize || options.block_size > kMaxWrittenBlockSize ||
      !std::has_single_bit(options.block_size))
    return Error::invalid_argument("a block size of {} bytes; 4096, 8192, 16384 and 32768 are written",
                                   options.block_size);
  if (options.algorithm == Algorithm::kLz4) return {};
  if (options.algorithm != Algorithm::kZstd)
    return Error::invalid_argument("compression algorithm {}", static_cast<int>(options.algorithm));
  if (options.level < 1 || options.level > kMaxZstdLevel)
    return Error::invalid_argument("zstd level {}; 1 to {} are possible", options.level, kMaxZstdLevel);
  return {};
}

std::size_t max_compressed_size(Algorithm algorithm, std::size_t raw_size) {
  if (algorithm == Algorithm::kZstd) return ZSTD_compressBound(raw_size);
  return static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(raw_size)));
}

void BlockEncoder::Free::operator()(ZSTD_CCtx* context) const {
  ZSTD_freeCCtx(context);
}

Result<BlockEncoder> BlockEncoder::create(const Options& options) {
  DADI_CHECK(check_options(options));
  BlockEncoder encoder(options);
  if (options.algorithm == Algorithm::kZstd) {
    encoder.zstd_.reset(ZSTD_createCCtx());
    if (!encoder.zstd_) return Error::exhausted("no memory to compress with");
  }
  return encoder;
}

Result<void> BlockEncoder::encode(std::span<const std::byte> raw, std::vector<std::byte>& out) {
  const std::size_t start = out.size();
  const std::size_t bound = max_compressed_size(options_.algorithm, raw.size());
  out.resize(start + bound + kChecksumSize);
  std::byte* target = out.data() + start;
  std::size_t size = 0;
  if (options_.algorithm == Algorithm::kLz4) {
    const int written =
        LZ4_compress_default(chars(raw.data()), chars(target), static_cast<int>(raw.size()), static_cast<int>(bound));
    if (written <= 0) return Error::internal("lz4 cannot compress {} bytes", raw.size());
    size = static_cast<std::size_t>(written);
  } else {
    size = ZSTD_compressCCtx(zstd_.get(), target, bound, raw.data(), raw.size(), options_.level);
    if (ZSTD_isError(size) != 0)
      return Error::internal("zstd cannot compress {} bytes: {}", raw.size(), ZSTD_getErrorName(size));
  }
  const std::span<std::byte> stored(target, size + kChecksumSize);
  store_le(stored, size, crc32c_raw(stored.first(size), kChecksumSalt));
  out.resize(start + stored.size());
  return {};
}

Result<void> decode_block(Algorithm algorithm, bool verify, std::span<const std::byte> stored,
                          std::span<std::byte> out) {
  std::span<const std::byte> compressed = stored;
  if (verify) {
    if (stored.size() <= kChecksumSize) return Error::corruption("{} bytes are no block", stored.size());
    compressed = stored.first(stored.size() - kChecksumSize);
    const auto expected = load_le<std::uint32_t>(stored, compressed.size());
    const std::uint32_t found = crc32c_raw(compressed, kChecksumSalt);
    if (found != expected) return Error::corruption("checksum {:08x}, but its bytes have {:08x}", expected, found);
  }
  return algorithm == Algorithm::kLz4 ? decompress_lz4(compressed, out) : decompress_zstd(compressed, out);
}

}  // namespace dadi::zfile
