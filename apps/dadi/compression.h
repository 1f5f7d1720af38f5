// The compression options that commands share: --compression and --block-size.
#pragma once

#include <string>

#include "apps/dadi/command_line.h"
#include "libformat/base/result.h"
#include "libformat/zfile/codec.h"

namespace dadi {

struct CompressionOptions {
  std::string compression = "lz4";  // lz4, zstd or zstd:LEVEL
  std::string block_size = "4K";
};

void add_compression_options(Command& command, CompressionOptions& options);

// Errors: invalid_argument, the option named.
Result<zfile::Options> parse_compression(const CompressionOptions& options);

// How people read it: "lz4 4 KiB".
std::string describe(zfile::Algorithm algorithm, std::uint32_t block_size);

}  // namespace dadi
