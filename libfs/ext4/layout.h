// Where ext4 keeps what: byte offsets in its on-disk structures, one table a structure, and the values of their fields.
// All integers are little-endian. Fields that nothing here reads are left out. Source: Linux kernel,
// Documentation/filesystems/ext4 (super, group_descr, inodes, ifork, directory, attributes).
#pragma once

#include <cstddef>
#include <cstdint>

namespace dadi::fs::layout {

inline constexpr std::uint64_t kSuperblockOffset = 1024;  // bytes from the device's start
inline constexpr std::size_t kSuperblockSize = 1024;

namespace super {
inline constexpr std::size_t kInodeCount = 0x00;
inline constexpr std::size_t kBlockCountLow = 0x04;
inline constexpr std::size_t kReservedBlockCountLow = 0x08;
inline constexpr std::size_t kFreeBlockCountLow = 0x0C;
inline constexpr std::size_t kFreeInodeCount = 0x10;
inline constexpr std::size_t kFirstDataBlock = 0x14;
inline constexpr std::size_t kLogBlockSize = 0x18;  // block size is 1024 << this
inline constexpr std::size_t kLogClusterSize = 0x1C;
inline constexpr std::size_t kBlocksPerGroup = 0x20;
inline constexpr std::size_t kClustersPerGroup = 0x24;
inline constexpr std::size_t kInodesPerGroup = 0x28;
inline constexpr std::size_t kMagic = 0x38;  // u16
inline constexpr std::size_t kState = 0x3A;  // u16
inline constexpr std::size_t kRevision = 0x4C;
inline constexpr std::size_t kFirstInode = 0x54;
inline constexpr std::size_t kInodeSize = 0x58;  // u16
inline constexpr std::size_t kCompatible = 0x5C;
inline constexpr std::size_t kIncompatible = 0x60;
inline constexpr std::size_t kReadOnly = 0x64;
inline constexpr std::size_t kUuid = 0x68;               // 16 bytes
inline constexpr std::size_t kLabel = 0x78;              // 16 bytes, NUL-padded
inline constexpr std::size_t kReservedGdtBlocks = 0xCE;  // u16
inline constexpr std::size_t kJournalInode = 0xE0;
inline constexpr std::size_t kLastOrphan = 0xE8;
inline constexpr std::size_t kHashSeed = 0xEC;            // 4 x u32
inline constexpr std::size_t kDefaultHashVersion = 0xFC;  // u8
inline constexpr std::size_t kDescriptorSize = 0xFE;      // u16, with the 64bit feature
inline constexpr std::size_t kBlockCountHigh = 0x150;     // this and the next two: with the 64bit feature
inline constexpr std::size_t kReservedBlockCountHigh = 0x154;
inline constexpr std::size_t kFreeBlockCountHigh = 0x158;
inline constexpr std::size_t kMinimumExtraSize = 0x15C;  // u16
inline constexpr std::size_t kWantedExtraSize = 0x15E;   // u16
inline constexpr std::size_t kFlags = 0x160;
inline constexpr std::size_t kLogGroupsPerFlex = 0x174;  // u8
inline constexpr std::size_t kChecksumType = 0x175;      // u8
inline constexpr std::size_t kErrorCount = 0x194;
inline constexpr std::size_t kBackupGroups = 0x24C;  // 2 x u32
inline constexpr std::size_t kChecksumSeed = 0x270;
inline constexpr std::size_t kOrphanFileInode = 0x280;
inline constexpr std::size_t kChecksum = 0x3FC;

inline constexpr std::uint16_t kMagicValue = 0xEF53;
inline constexpr std::uint16_t kStateClean = 1;
inline constexpr std::uint16_t kStateErrors = 2;
inline constexpr std::uint32_t kFlagSignedHash = 1;
inline constexpr std::uint32_t kFlagUnsignedHash = 2;
inline constexpr std::uint8_t kChecksumTypeCrc32c = 1;
}  // namespace super

// Features that older code may ignore.
namespace compatible {
inline constexpr std::uint32_t kHasJournal = 0x4;
inline constexpr std::uint32_t kXattrs = 0x8;
inline constexpr std::uint32_t kResizeInode = 0x10;
inline constexpr std::uint32_t kDirectoryIndex = 0x20;
inline constexpr std::uint32_t kSparseSuper2 = 0x200;
inline constexpr std::uint32_t kOrphanFile = 0x1000;
}  // namespace compatible

// Features without which the file system cannot be read.
namespace incompatible {
inline constexpr std::uint32_t kFileType = 0x2;
inline constexpr std::uint32_t kNeedsRecovery = 0x4;
inline constexpr std::uint32_t kExtents = 0x40;
inline constexpr std::uint32_t k64Bit = 0x80;
inline constexpr std::uint32_t kFlexGroups = 0x200;
inline constexpr std::uint32_t kXattrInodes = 0x400;
inline constexpr std::uint32_t kChecksumSeed = 0x2000;
inline constexpr std::uint32_t kLargeDirectories = 0x4000;
}  // namespace incompatible

// Features without which it cannot be written.
namespace read_only {
inline constexpr std::uint32_t kSparseSuper = 0x1;
inline constexpr std::uint32_t kLargeFiles = 0x2;
inline constexpr std::uint32_t kHugeFiles = 0x8;
inline constexpr std::uint32_t kGroupChecksums = 0x10;
inline constexpr std::uint32_t kManySubdirectories = 0x20;
inline constexpr std::uint32_t kExtraInodeSize = 0x40;
inline constexpr std::uint32_t kBigAlloc = 0x200;
inline constexpr std::uint32_t kMetadataChecksums = 0x400;
inline constexpr std::uint32_t kReadOnlyForever = 0x1000;
inline constexpr std::uint32_t kOrphansPresent = 0x10000;
}  // namespace read_only

// Offsets from 0x20 on: descriptors of 64 bytes only.
namespace group {
inline constexpr std::size_t kBlockBitmapLow = 0x00;
inline constexpr std::size_t kInodeBitmapLow = 0x04;
inline constexpr std::size_t kInodeTableLow = 0x08;
inline constexpr std::size_t kFreeBlocksLow = 0x0C;           // u16
inline constexpr std::size_t kFreeInodesLow = 0x0E;           // u16
inline constexpr std::size_t kDirectoriesLow = 0x10;          // u16
inline constexpr std::size_t kFlags = 0x12;                   // u16
inline constexpr std::size_t kBlockBitmapChecksumLow = 0x18;  // u16
inline constexpr std::size_t kInodeBitmapChecksumLow = 0x1A;  // u16
inline constexpr std::size_t kUnusedInodesLow = 0x1C;         // u16
inline constexpr std::size_t kChecksum = 0x1E;                // u16
inline constexpr std::size_t kBlockBitmapHigh = 0x20;
inline constexpr std::size_t kInodeBitmapHigh = 0x24;
inline constexpr std::size_t kInodeTableHigh = 0x28;
inline constexpr std::size_t kFreeBlocksHigh = 0x2C;           // u16
inline constexpr std::size_t kFreeInodesHigh = 0x2E;           // u16
inline constexpr std::size_t kDirectoriesHigh = 0x30;          // u16
inline constexpr std::size_t kUnusedInodesHigh = 0x32;         // u16
inline constexpr std::size_t kBlockBitmapChecksumHigh = 0x38;  // u16
inline constexpr std::size_t kInodeBitmapChecksumHigh = 0x3A;  // u16

inline constexpr std::uint16_t kInodesUninitialized =
    1;  // no inode of the group was ever used: bitmap and table unread
inline constexpr std::uint16_t kBlocksUninitialized = 2;  // the block bitmap is to be computed
}  // namespace group

// Offsets from 0x80 on: as far as the inode's own extra size says.
namespace inode {
inline constexpr std::size_t kMode = 0x00;    // u16
inline constexpr std::size_t kUidLow = 0x02;  // u16
inline constexpr std::size_t kSizeLow = 0x04;
inline constexpr std::size_t kAtime = 0x08;
inline constexpr std::size_t kCtime = 0x0C;
inline constexpr std::size_t kMtime = 0x10;
inline constexpr std::size_t kDeletionTime = 0x14;
inline constexpr std::size_t kGidLow = 0x18;     // u16
inline constexpr std::size_t kLinks = 0x1A;      // u16
inline constexpr std::size_t kBlocksLow = 0x1C;  // of 512 bytes, or file system blocks with kHugeFile
inline constexpr std::size_t kFlags = 0x20;
inline constexpr std::size_t kBlockMap = 0x28;  // 60 bytes
inline constexpr std::size_t kGeneration = 0x64;
inline constexpr std::size_t kXattrBlockLow = 0x68;
inline constexpr std::size_t kSizeHigh = 0x6C;
inline constexpr std::size_t kFragmentAddress = 0x70;  // obsolete
inline constexpr std::size_t kBlocksHigh = 0x74;       // u16
inline constexpr std::size_t kXattrBlockHigh = 0x76;   // u16
inline constexpr std::size_t kUidHigh = 0x78;          // u16
inline constexpr std::size_t kGidHigh = 0x7A;          // u16
inline constexpr std::size_t kChecksumLow = 0x7C;      // u16
inline constexpr std::size_t kExtraSize = 0x80;        // u16: bytes in use from 0x80 on
inline constexpr std::size_t kChecksumHigh = 0x82;     // u16
inline constexpr std::size_t kCtimeExtra = 0x84;       // low 2 bits: epoch, others: nanoseconds
inline constexpr std::size_t kMtimeExtra = 0x88;
inline constexpr std::size_t kAtimeExtra = 0x8C;
inline constexpr std::size_t kCrtime = 0x90;
inline constexpr std::size_t kCrtimeExtra = 0x94;

inline constexpr std::size_t kSmallSize = 128;  // an inode without extra fields
inline constexpr std::size_t kBlockMapSize = 60;
}  // namespace inode

namespace mode {
inline constexpr std::uint16_t kTypeMask = 0xF000;
inline constexpr std::uint16_t kFifo = 0x1000;
inline constexpr std::uint16_t kCharacterDevice = 0x2000;
inline constexpr std::uint16_t kDirectory = 0x4000;
inline constexpr std::uint16_t kBlockDevice = 0x6000;
inline constexpr std::uint16_t kRegular = 0x8000;
inline constexpr std::uint16_t kSymlink = 0xA000;
inline constexpr std::uint16_t kSocket = 0xC000;
inline constexpr std::uint16_t kPermissions = 0x0FFF;
}  // namespace mode

namespace inode_flag {
inline constexpr std::uint32_t kImmutable = 0x10;
inline constexpr std::uint32_t kAppendOnly = 0x20;
inline constexpr std::uint32_t kEncrypted = 0x800;
inline constexpr std::uint32_t kIndexed = 0x1000;  // a directory with an htree
inline constexpr std::uint32_t kMagic = 0x2000;
inline constexpr std::uint32_t kHugeFile = 0x40000;  // block count is in file system blocks
inline constexpr std::uint32_t kExtents = 0x80000;
inline constexpr std::uint32_t kVerity = 0x100000;
inline constexpr std::uint32_t kXattrInode = 0x200000;
inline constexpr std::uint32_t kInlineData = 0x10000000;
inline constexpr std::uint32_t kCaseFolded = 0x40000000;
}  // namespace inode_flag

// Numbers of inodes with a meaning of their own.
namespace reserved_inode {
inline constexpr std::uint32_t kBadBlocks = 1;
inline constexpr std::uint32_t kRoot = 2;
inline constexpr std::uint32_t kBootLoader = 5;
inline constexpr std::uint32_t kResize = 7;
inline constexpr std::uint32_t kJournal = 8;
inline constexpr std::uint32_t kFirstFree = 11;  // in revision 0
}  // namespace reserved_inode

// An extent tree's node: a header and records of 12 bytes; in blocks a checksum after the last possible record.
namespace extent {
inline constexpr std::size_t kMagic = 0;    // u16
inline constexpr std::size_t kEntries = 2;  // u16
inline constexpr std::size_t kMaximum = 4;  // u16
inline constexpr std::size_t kDepth = 6;    // u16, 0: leaf
inline constexpr std::size_t kHeaderSize = 12;
inline constexpr std::size_t kRecordSize = 12;
inline constexpr std::uint16_t kMagicValue = 0xF30A;
inline constexpr std::uint16_t kMaximumDepth = 5;

inline constexpr std::size_t kLogical = 0;    // of both kinds of record
inline constexpr std::size_t kLength = 4;     // u16, of a leaf's; above kLongest: unwritten, by so much longer
inline constexpr std::size_t kStartHigh = 6;  // u16
inline constexpr std::size_t kStartLow = 8;
inline constexpr std::uint16_t kLongest = 32768;
inline constexpr std::size_t kChildLow = 4;   // of an index's
inline constexpr std::size_t kChildHigh = 8;  // u16
}  // namespace extent

// A directory is blocks, each filled with entries.
namespace dirent {
inline constexpr std::size_t kInode = 0;
inline constexpr std::size_t kLength = 4;      // u16, to the next entry
inline constexpr std::size_t kNameLength = 6;  // u8, or u16 without the filetype feature
inline constexpr std::size_t kFileType = 7;    // u8
inline constexpr std::size_t kName = 8;
inline constexpr std::size_t kSmallest = 12;  // length of an entry with a name of up to 4 bytes

inline constexpr std::size_t kTailSize = 12;  // an entry without a name that holds the block's checksum
inline constexpr std::size_t kTailChecksum = 8;
inline constexpr std::uint8_t kTailFileType = 0xDE;
}  // namespace dirent

namespace file_type {
inline constexpr std::uint8_t kUnknown = 0;
inline constexpr std::uint8_t kRegular = 1;
inline constexpr std::uint8_t kDirectory = 2;
inline constexpr std::uint8_t kCharacterDevice = 3;
inline constexpr std::uint8_t kBlockDevice = 4;
inline constexpr std::uint8_t kFifo = 5;
inline constexpr std::uint8_t kSocket = 6;
inline constexpr std::uint8_t kSymlink = 7;
}  // namespace file_type

// A directory's index: the root follows "." and ".." in its first block, nodes look like a block with one empty entry.
namespace htree {
inline constexpr std::size_t kRootReserved = 24;
inline constexpr std::size_t kRootHashVersion = 28;  // u8
inline constexpr std::size_t kRootInfoLength = 29;   // u8, 8
inline constexpr std::size_t kRootLevels = 30;       // u8: levels of nodes below the root
inline constexpr std::size_t kRootFlags = 31;        // u8
inline constexpr std::size_t kRootEntries = 32;
inline constexpr std::size_t kNodeEntries = 8;

inline constexpr std::size_t kRecordSize = 8;  // hash, block; limit and count (u16) stand in for the first one's hash
inline constexpr std::size_t kLimit = 0;
inline constexpr std::size_t kCount = 2;
inline constexpr std::size_t kHash = 0;
inline constexpr std::size_t kBlock = 4;
inline constexpr std::size_t kTailSize = 8;  // reserved, checksum: after the last possible record
inline constexpr std::size_t kTailChecksum = 4;

inline constexpr std::uint8_t kLegacy = 0;
inline constexpr std::uint8_t kHalfMd4 = 1;
inline constexpr std::uint8_t kTea = 2;
}  // namespace htree

namespace xattr {
inline constexpr std::uint32_t kMagicValue = 0xEA020000;
inline constexpr std::size_t kMagic = 0;
inline constexpr std::size_t kInodeHeaderSize = 4;  // in an inode the magic is all there is

inline constexpr std::size_t kReferences = 4;
inline constexpr std::size_t kBlocks = 8;  // 1
inline constexpr std::size_t kChecksum = 16;
inline constexpr std::size_t kBlockHeaderSize = 32;

inline constexpr std::size_t kNameLength = 0;   // u8
inline constexpr std::size_t kNameIndex = 1;    // u8: stands for the name's prefix
inline constexpr std::size_t kValueOffset = 2;  // u16, from the block's start, or from the first entry in an inode
inline constexpr std::size_t kValueInode = 4;
inline constexpr std::size_t kValueSize = 8;
inline constexpr std::size_t kHash = 12;
inline constexpr std::size_t kEntrySize = 16;  // without the name; then rounded up to 4
}  // namespace xattr

}  // namespace dadi::fs::layout
