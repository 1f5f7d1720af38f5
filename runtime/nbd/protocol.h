// The numbers of the NBD protocol, as its document has them:
// https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md. All integers on the wire are big-endian.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/nbd/big_endian.h"

namespace dadi::nbd {

// Handshake.
inline constexpr std::uint64_t kInitMagic = 0x4e42444d41474943;    // "NBDMAGIC"
inline constexpr std::uint64_t kOptionMagic = 0x49484156454f5054;  // "IHAVEOPT"
inline constexpr std::uint64_t kOptionReplyMagic = 0x3e889045565a9;
inline constexpr std::size_t kMaxString = 4096;  // bytes of a name, query or message

inline constexpr std::uint16_t kFixedNewstyle = 1 << 0;  // handshake flags; the client's have the same bits
inline constexpr std::uint16_t kNoZeroes = 1 << 1;

enum class Option : std::uint32_t {
  kExportName = 1,
  kAbort = 2,
  kList = 3,
  kStartTls = 5,
  kInfo = 6,
  kGo = 7,
  kStructuredReply = 8,
  kListMetaContext = 9,
  kSetMetaContext = 10,
};

enum class OptionReply : std::uint32_t {
  kAck = 1,
  kServer = 2,
  kInfo = 3,
  kMetaContext = 4,
  kErrorUnsupported = 0x80000001,
  kErrorPolicy = 0x80000002,
  kErrorInvalid = 0x80000003,
  kErrorTlsRequired = 0x80000005,
  kErrorUnknown = 0x80000006,  // no such export
  kErrorShutdown = 0x80000007,
  kErrorTooBig = 0x80000009,
};

enum class Info : std::uint16_t { kExport = 0, kName = 1, kDescription = 2, kBlockSize = 3 };

// Transmission flags: what an export can do.
inline constexpr std::uint16_t kHasFlags = 1 << 0;
inline constexpr std::uint16_t kReadOnly = 1 << 1;
inline constexpr std::uint16_t kSendFlush = 1 << 2;
inline constexpr std::uint16_t kSendFua = 1 << 3;
inline constexpr std::uint16_t kSendTrim = 1 << 5;
inline constexpr std::uint16_t kSendWriteZeroes = 1 << 6;
inline constexpr std::uint16_t kSendDf = 1 << 7;
inline constexpr std::uint16_t kCanMultiConn = 1 << 8;
inline constexpr std::uint16_t kSendCache = 1 << 10;
inline constexpr std::uint16_t kSendFastZero = 1 << 11;

// Transmission.
inline constexpr std::uint32_t kRequestMagic = 0x25609513;
inline constexpr std::uint32_t kSimpleReplyMagic = 0x67446698;
inline constexpr std::uint32_t kStructuredReplyMagic = 0x668e33ef;
inline constexpr std::size_t kRequestSize = 28;
inline constexpr std::size_t kSimpleReplySize = 16;
inline constexpr std::size_t kChunkSize = 20;  // the head of a structured reply's chunk

enum class Command : std::uint16_t {
  kRead = 0,
  kWrite = 1,
  kDisconnect = 2,
  kFlush = 3,
  kTrim = 4,
  kCache = 5,
  kWriteZeroes = 6,
  kBlockStatus = 7,
};

inline constexpr std::uint16_t kFua = 1 << 0;  // command flags
inline constexpr std::uint16_t kNoHole = 1 << 1;
inline constexpr std::uint16_t kDf = 1 << 2;
inline constexpr std::uint16_t kReqOne = 1 << 3;
inline constexpr std::uint16_t kFastZero = 1 << 4;

enum class Chunk : std::uint16_t {
  kNone = 0,
  kOffsetData = 1,
  kOffsetHole = 2,
  kBlockStatus = 5,
  kError = 0x8001,
};
inline constexpr std::uint16_t kDone = 1 << 0;  // of a chunk: the last one

enum class Errno : std::uint32_t {
  kNone = 0,
  kPerm = 1,
  kIo = 5,
  kNoMemory = 12,
  kInvalid = 22,
  kNoSpace = 28,
  kOverflow = 75,
  kNotSupported = 95,
  kShutdown = 108,
};

// The metadata context that describes allocation, the only one there is, and its flags.
inline constexpr std::string_view kAllocationContext = "base:allocation";
inline constexpr std::uint32_t kAllocationContextId = 1;
inline constexpr std::uint32_t kStateHole = 1 << 0;
inline constexpr std::uint32_t kStateZero = 1 << 1;

struct Request {
  std::uint16_t flags = 0;
  Command command = Command::kRead;  // may be a number that is not named above
  std::uint64_t cookie = 0;          // names the request in its reply; the client's choice
  std::uint64_t offset = 0;          // bytes
  std::uint32_t length = 0;          // bytes
};

// REQUIRES: data.size() >= kRequestSize, and the magic was checked.
inline Request load_request(std::span<const std::byte> data) {
  return {.flags = load_be<std::uint16_t>(data, 4),
          .command = static_cast<Command>(load_be<std::uint16_t>(data, 6)),
          .cookie = load_be<std::uint64_t>(data, 8),
          .offset = load_be<std::uint64_t>(data, 16),
          .length = load_be<std::uint32_t>(data, 24)};
}

}  // namespace dadi::nbd
