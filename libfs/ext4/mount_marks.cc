#include "libfs/ext4/mount_marks.h"

#include <algorithm>
#include <array>

#include "libformat/base/endian.h"
#include "libfs/ext4/checksum.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {

namespace {

using RawSuperblock = std::array<std::byte, layout::kSuperblockSize>;

struct MarkedField {
  std::size_t offset;
  std::size_t size;
};

constexpr MarkedField kMountMarks[] = {
    {0x2C, 4},   // when it was mounted
    {0x30, 4},   // when it was written to
    {0x34, 2},   // how often it was mounted
    {0x88, 64},  // where
    {0x178, 8},  // KiB written to it, ever
    {0x248, 4},  // blocks of its own structures, counted by the kernel
    {0x274, 2},  // the upper bytes of the times
};

constexpr Sectors kSuperblockPlace{layout::kSuperblockOffset / kSectorSize};

bool holds_ext4(const RawSuperblock& raw) {
  return load_le<std::uint16_t>(raw, layout::super::kMagic) == layout::super::kMagicValue;
}

}  // namespace

Result<void> forget_mount(const BlockReader& before, const BlockReader& device, BlockWriter& writer,
                          const ReadContext& context) {
  RawSuperblock old{};
  RawSuperblock raw{};
  const Sectors end = kSuperblockPlace + whole_sectors(raw);
  if (before.size() < end || device.size() < end) return {};
  DADI_CHECK(before.read_at(kSuperblockPlace, old, context));
  DADI_CHECK(device.read_at(kSuperblockPlace, raw, context));
  if (!holds_ext4(old) || !holds_ext4(raw)) return {};
  for (const MarkedField& field : kMountMarks)
    std::ranges::copy(std::span(old).subspan(field.offset, field.size), raw.begin() + field.offset);
  if ((load_le<std::uint32_t>(raw, layout::super::kReadOnly) & layout::read_only::kMetadataChecksums) != 0)
    store_le(std::span(raw), layout::super::kChecksum, checksum::superblock(raw));
  return writer.write_at(kSuperblockPlace, raw);
}

}  // namespace dadi::fs
