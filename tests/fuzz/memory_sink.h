// A sink that keeps everything.
#pragma once

#include <vector>

#include "libformat/blob/byte_stream.h"

namespace dadi::fuzz {

class MemorySink final : public ByteSink {
 public:
  Result<void> write(std::span<const std::byte> data) override {
    bytes.insert(bytes.end(), data.begin(), data.end());
    return {};
  }

  std::vector<std::byte> bytes;
};

}  // namespace dadi::fuzz
