#include "apps/dadi/compression.h"

#include <charconv>

#include "apps/dadi/sizes.h"

namespace dadi {

void add_compression_options(Command& command, CompressionOptions& options) {
  command.option("--compression", options.compression, "NAME", "lz4, zstd or zstd:LEVEL (1 to 19)")
      .option("--block-size", options.block_size, "SIZE", "What is compressed, and read, as one piece: 4K to 32K");
}

Result<zfile::Options> parse_compression(const CompressionOptions& options) {
  zfile::Options parsed;
  const std::string& text = options.compression;
  const std::string name = text.substr(0, text.find(':'));
  const auto malformed = [&] { return Error::invalid_argument("--compression {}: not lz4, zstd or zstd:LEVEL", text); };
  if (name != "lz4" && name != "zstd") return malformed();
  parsed.algorithm = name == "lz4" ? zfile::Algorithm::kLz4 : zfile::Algorithm::kZstd;
  if (name.size() < text.size()) {
    const char* const begin = text.data() + name.size() + 1;
    const char* const end = text.data() + text.size();
    const auto [stop, status] = std::from_chars(begin, end, parsed.level);
    if (name == "lz4" || status != std::errc() || stop != end) return malformed();
  }
  DADI_TRY(const Bytes block_size, parse_size(options.block_size).context("--block-size"));
  if (block_size.value > zfile::kMaxBlockSize) {
    return Error::invalid_argument("--block-size {}: not a power of two from 4K to 32K", options.block_size);
  }
  parsed.block_size = static_cast<std::uint32_t>(block_size.value);
  DADI_CHECK(zfile::check_options(parsed));
  return parsed;
}

std::string describe(zfile::Algorithm algorithm, std::uint32_t block_size) {
  return fmt::format("{} {}", zfile::name_of(algorithm), format_size({block_size}));
}

}  // namespace dadi
