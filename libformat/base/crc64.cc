#include "libformat/base/crc64.h"

#include <isa-l/crc64.h>

namespace dadi {

std::uint64_t crc64(std::span<const std::byte> data) {
  return crc64_ecma_refl(0, reinterpret_cast<const unsigned char*>(data.data()), data.size());
}

}  // namespace dadi
