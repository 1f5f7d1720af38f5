// The exit statuses of dadi: documented in docs/reference/exit-codes.md, and stable.
#pragma once

#include "libformat/base/error_name.h"
#include "libformat/base/result.h"

namespace dadi {

enum class ExitCode : int {
  kOk = 0,
  kFailure = 1,      // nothing below says it better: I/O, a full disk, a bug
  kUsage = 2,        // the command line makes no sense
  kPartial = 3,      // some of what was asked was done
  kCorrupt = 4,      // input is damaged, or differs from what it should equal
  kNotFound = 5,     // a file, tag, blob or path does not exist
  kDenied = 6,       // by the operating system or a registry
  kNetwork = 7,      // try again
  kUnsupported = 8,  // well-formed, but of a kind that dadi does not handle
  kBusy = 9,         // in use by somebody else
  kHostLacks = 10,   // this host has no such feature
};

inline constexpr int kExitSignalBase = 128;  // plus the number of the signal that ended the command

// The one table from what failed to how the program ends. kCancelled is not in it: a command that was stopped ends with
// 128 + signal (see Session); without a signal it is a failure.
ExitCode exit_code_of(ErrorCode code);

}  // namespace dadi
