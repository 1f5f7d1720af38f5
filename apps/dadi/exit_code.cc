#include "apps/dadi/exit_code.h"

#include <array>

namespace dadi {
namespace {

struct Row {
  ErrorCode code;
  ExitCode exit;
};

constexpr std::array kTable = {
    Row{ErrorCode::kNotFound, ExitCode::kNotFound},
    Row{ErrorCode::kInvalidArgument, ExitCode::kUsage},
    Row{ErrorCode::kCorruption, ExitCode::kCorrupt},
    Row{ErrorCode::kUnsupported, ExitCode::kUnsupported},
    Row{ErrorCode::kIo, ExitCode::kFailure},
    Row{ErrorCode::kUnavailable, ExitCode::kNetwork},
    Row{ErrorCode::kUnauthenticated, ExitCode::kDenied},
    Row{ErrorCode::kDenied, ExitCode::kDenied},
    Row{ErrorCode::kExhausted, ExitCode::kFailure},
    Row{ErrorCode::kBusy, ExitCode::kBusy},
    Row{ErrorCode::kWouldBlock, ExitCode::kFailure},
    Row{ErrorCode::kHostLacks, ExitCode::kHostLacks},
    Row{ErrorCode::kCancelled, ExitCode::kFailure},
    Row{ErrorCode::kInternal, ExitCode::kFailure},
};

const Row& row_of(ErrorCode code) {
  for (const Row& row : kTable) {
    if (row.code == code) return row;
  }
  return kTable.back();
}

}  // namespace

ExitCode exit_code_of(ErrorCode code) {
  return row_of(code).exit;
}

}  // namespace dadi
