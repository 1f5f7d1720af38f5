#include "runtime/nbd/byte_reads.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace dadi::nbd {
namespace {

// Fills `out` with what sector `at` holds from byte `skip` on.
Result<void> read_part(const BlockReader& device, Sectors at, std::size_t skip, std::span<std::byte> out,
                       const ReadContext& context) {
  std::array<std::byte, kSectorSize> sector;
  DADI_CHECK(device.read_at(at, sector, context));
  std::memcpy(out.data(), sector.data() + skip, out.size());
  return {};
}

}  // namespace

Result<void> read_bytes(const BlockReader& device, Bytes offset, std::span<std::byte> out, const ReadContext& context) {
  if (const std::size_t skip = offset.value % kSectorSize; skip != 0 && !out.empty()) {
    const std::size_t head = std::min<std::size_t>(kSectorSize - skip, out.size());
    DADI_CHECK(read_part(device, whole_sectors(offset), skip, out.first(head), context));
    offset += Bytes{head};
    out = out.subspan(head);
  }
  const std::size_t whole = out.size() / kSectorSize * kSectorSize;
  if (whole > 0) DADI_CHECK(device.read_at(whole_sectors(offset), out.first(whole), context));
  if (whole == out.size()) return {};
  return read_part(device, whole_sectors(offset + Bytes{whole}), 0, out.subspan(whole), context);
}

}  // namespace dadi::nbd
