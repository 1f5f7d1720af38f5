#include "libfs/ext4/unmounted_device.h"

#include <algorithm>

#include "libformat/base/endian.h"
#include "libfs/ext4/checksum.h"

namespace dadi::fs {

namespace {

constexpr Bytes kBegin{layout::kSuperblockOffset};
constexpr Bytes kEnd{layout::kSuperblockOffset + layout::kSuperblockSize};

}  // namespace

Result<std::shared_ptr<const BlockReader>> UnmountedDevice::over(std::shared_ptr<const BlockReader> frozen,
                                                                 const ReadContext& context) {
  if (to_bytes(frozen->size()) < kEnd) return frozen;
  Superblock raw{};
  DADI_CHECK(frozen->read_at(whole_sectors(kBegin), raw, context));
  if (load_le<std::uint16_t>(raw, layout::super::kMagic) != layout::super::kMagicValue) return frozen;
  const auto state = load_le<std::uint16_t>(raw, layout::super::kState);
  store_le(std::span(raw), layout::super::kState, static_cast<std::uint16_t>(state | layout::super::kStateClean));
  if ((load_le<std::uint32_t>(raw, layout::super::kReadOnly) & layout::read_only::kMetadataChecksums) != 0)
    store_le(std::span(raw), layout::super::kChecksum, checksum::superblock(raw));
  return std::shared_ptr<const BlockReader>(new UnmountedDevice(std::move(frozen), raw));
}

Result<void> UnmountedDevice::read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const {
  DADI_CHECK(frozen_->read_at(at, out, context));
  const Bytes begin = to_bytes(at);
  const Bytes from = std::max(begin, kBegin);
  const Bytes to = std::min(begin + Bytes{out.size()}, kEnd);
  if (from < to)
    std::ranges::copy(std::span(superblock_).subspan((from - kBegin).value, (to - from).value),
                      out.subspan((from - begin).value).begin());
  return {};
}

lsmt::SectorRange UnmountedDevice::changed() {
  return {.begin = whole_sectors(kBegin), .end = whole_sectors(kEnd)};
}

}  // namespace dadi::fs
