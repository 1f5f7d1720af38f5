#include "libformat/base/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>

namespace dadi {

std::uint32_t crc32c_raw(std::span<const std::byte> data, std::uint32_t crc) {
  constexpr std::size_t kMost = std::size_t{1} << 30;  // the library takes an int
  while (!data.empty()) {
    const auto part = data.first(std::min(data.size(), kMost));
    // The library does not write to its input, though it does not say so.
    auto* bytes = const_cast<unsigned char*>(reinterpret_cast<const unsigned char*>(part.data()));
    crc = crc32_iscsi(bytes, static_cast<int>(part.size()), crc);
    data = data.subspan(part.size());
  }
  return crc;
}

}  // namespace dadi
