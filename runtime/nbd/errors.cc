#include "runtime/nbd/errors.h"

#include <array>

namespace dadi::nbd {
namespace {

struct Row {
  ErrorCode code;
  Errno number;
};

constexpr std::array kTable = {
    Row{ErrorCode::kNotFound, Errno::kIo},
    Row{ErrorCode::kInvalidArgument, Errno::kInvalid},
    Row{ErrorCode::kCorruption, Errno::kIo},
    Row{ErrorCode::kUnsupported, Errno::kNotSupported},
    Row{ErrorCode::kIo, Errno::kIo},
    Row{ErrorCode::kUnavailable, Errno::kIo},
    Row{ErrorCode::kUnauthenticated, Errno::kIo},  // the server's credentials, not the client's
    Row{ErrorCode::kDenied, Errno::kIo},
    Row{ErrorCode::kExhausted, Errno::kNoSpace},
    Row{ErrorCode::kBusy, Errno::kIo},
    Row{ErrorCode::kWouldBlock, Errno::kIo},
    Row{ErrorCode::kHostLacks, Errno::kNotSupported},
    Row{ErrorCode::kCancelled, Errno::kShutdown},
    Row{ErrorCode::kInternal, Errno::kIo},
};

}  // namespace

Errno errno_of(ErrorCode code) {
  for (const Row& row : kTable) {
    if (row.code == code) return row.number;
  }
  return Errno::kIo;
}

std::string_view message_of(Errno number) {
  switch (number) {
    case Errno::kNone:
      return "";
    case Errno::kPerm:
      return "the export is read-only";
    case Errno::kIo:
      return "the device could not be read or written there";
    case Errno::kNoMemory:
      return "out of memory";
    case Errno::kInvalid:
      return "not a request that this export takes";
    case Errno::kNoSpace:
      return "no room, or past the end of the device";
    case Errno::kOverflow:
      return "too large for one reply";
    case Errno::kNotSupported:
      return "not supported";
    case Errno::kShutdown:
      return "the server is shutting down";
  }
  return "";
}

}  // namespace dadi::nbd
