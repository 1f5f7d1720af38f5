#include "libformat/base/endian.h"
#include "libfs/check/state.h"
#include "libfs/ext4/checksum.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

namespace field = layout::super;

constexpr std::uint32_t kDirectoryPreallocation = 0x1;  // a hint
constexpr std::uint32_t kKnownCompatible = kDirectoryPreallocation | layout::compatible::kHasJournal |
                                           layout::compatible::kXattrs | layout::compatible::kResizeInode |
                                           layout::compatible::kDirectoryIndex | layout::compatible::kSparseSuper2 |
                                           layout::compatible::kOrphanFile;
constexpr std::uint32_t kKnownReadOnly =
    layout::read_only::kSparseSuper | layout::read_only::kLargeFiles | layout::read_only::kHugeFiles |
    layout::read_only::kGroupChecksums | layout::read_only::kManySubdirectories | layout::read_only::kExtraInodeSize |
    layout::read_only::kMetadataChecksums | layout::read_only::kReadOnlyForever | layout::read_only::kOrphansPresent;

// What the features say together.
void check_features(CheckState& state) {
  const Superblock& sb = state.superblock();
  const Place place = Place::superblock();
  const bool has_journal = sb.has_compatible(layout::compatible::kHasJournal);
  if (sb.has_read_only(layout::read_only::kMetadataChecksums) && sb.has_read_only(layout::read_only::kGroupChecksums))
    state.findings.fault(place, "both kinds of checksums, metadata_csum and uninit_bg, are on");
  if (sb.has_incompatible(layout::incompatible::kNeedsRecovery))
    state.findings.fault(place, "{}", has_journal ? "the journal was not replayed" : "a journal to replay, but none");
  if (!has_journal && sb.journal_inode != 0)
    state.findings.fault(place, "the feature has_journal is off, but inode {} is the journal", sb.journal_inode);
  if (has_journal && sb.journal_inode != layout::reserved_inode::kJournal)
    state.findings.fault(place, "the journal is inode {}", sb.journal_inode);
  if (!sb.has_compatible(layout::compatible::kResizeInode) && sb.reserved_gdt_blocks != 0)
    state.findings.fault(place, "{} blocks are reserved for group descriptors, without the feature resize_inode",
                         sb.reserved_gdt_blocks);
}

void check_limits(CheckState& state, std::span<const std::byte> raw) {
  const Superblock& sb = state.superblock();
  const Place place = Place::superblock();
  if (sb.reserved_block_count > sb.block_count / 2)
    state.findings.fault(place, "{} of {} blocks are reserved", sb.reserved_block_count, sb.block_count);
  const std::size_t extra_room = sb.inode_size - layout::inode::kSmallSize;
  if (load_le<std::uint16_t>(raw, field::kMinimumExtraSize) > extra_room ||
      load_le<std::uint16_t>(raw, field::kWantedExtraSize) > extra_room)
    state.findings.fault(place, "inodes are to have more extra fields than fit into {} bytes", sb.inode_size);
  if (load_le<std::uint8_t>(raw, field::kLogGroupsPerFlex) > 31)
    state.findings.fault(place, "2^{} groups per flexible group", load_le<std::uint8_t>(raw, field::kLogGroupsPerFlex));
}

void check_condition(CheckState& state, std::span<const std::byte> raw) {
  const Superblock& sb = state.superblock();
  const Place place = Place::superblock();
  if (sb.last_orphan != 0) state.findings.note(place, "inode {} waits for its deletion", sb.last_orphan);
  if (sb.has_compatible(layout::compatible::kDirectoryIndex) &&
      (sb.flags & (field::kFlagSignedHash | field::kFlagUnsignedHash)) == 0)
    state.findings.note(place, "whether directory hashes are signed is not stated");
  if (sb.has_read_only(layout::read_only::kOrphansPresent))
    state.findings.fault(place, "inodes wait for their deletion in the orphan file");
  if ((sb.state & field::kStateErrors) != 0 || load_le<std::uint32_t>(raw, field::kErrorCount) != 0)
    state.findings.note(place, "the kernel has recorded errors");
  if ((sb.state & field::kStateClean) == 0) state.findings.note(place, "not marked as cleanly unmounted");
}

}  // namespace

Result<void> check_superblock(CheckState& state) {
  DADI_TRY(const auto raw, state.image.raw_superblock());
  const Superblock& sb = state.superblock();
  if ((sb.compatible & ~kKnownCompatible) != 0)
    return Error::unsupported("checking compatible features {:#x}", sb.compatible & ~kKnownCompatible);
  if ((sb.read_only & ~kKnownReadOnly) != 0)
    return Error::unsupported("checking read-only-compatible features {:#x}", sb.read_only & ~kKnownReadOnly);
  if (sb.has_metadata_checksums() && load_le<std::uint32_t>(raw, field::kChecksum) != checksum::superblock(raw))
    state.findings.fault(Place::superblock(), "it does not match its checksum");
  check_features(state);
  check_limits(state, raw);
  check_condition(state, raw);
  return {};
}

}  // namespace dadi::fs
