#include "apps/dadi/exit_code.h"

#include <array>

namespace dadi {
namespace {

struct Row {
  ErrorCode code;
  ExitCode exit;
  std::string_view name;
};

constexpr std::array kTable = {
    Row{ErrorCode::kNotFound, ExitCode::kNotFound, "not_found"},
    Row{ErrorCode::kInvalidArgument, ExitCode::kUsage, "invalid_argument"},
    Row{ErrorCode::kCorruption, ExitCode::kCorrupt, "corruption"},
    Row{ErrorCode::kUnsupported, ExitCode::kUnsupported, "unsupported"},
    Row{ErrorCode::kIo, ExitCode::kFailure, "io"},
    Row{ErrorCode::kUnavailable, ExitCode::kNetwork, "unavailable"},
    Row{ErrorCode::kUnauthenticated, ExitCode::kDenied, "unauthenticated"},
    Row{ErrorCode::kDenied, ExitCode::kDenied, "denied"},
    Row{ErrorCode::kExhausted, ExitCode::kFailure, "exhausted"},
    Row{ErrorCode::kBusy, ExitCode::kBusy, "busy"},
    Row{ErrorCode::kWouldBlock, ExitCode::kFailure, "would_block"},
    Row{ErrorCode::kHostLacks, ExitCode::kHostLacks, "host_lacks"},
    Row{ErrorCode::kCancelled, ExitCode::kFailure, "cancelled"},
    Row{ErrorCode::kInternal, ExitCode::kFailure, "internal"},
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
std::string_view name_of(ErrorCode code) {
  return row_of(code).name;
}

}  // namespace dadi
