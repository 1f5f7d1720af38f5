// --max-size and --max-entries: how much the archives of an image may hold.
#pragma once

#include <string>

#include "apps/dadi/command_line.h"
#include "libfs/archive_budget.h"

namespace dadi {

struct LimitOptions {
  std::string max_size;  // empty: twice the device's size
  unsigned max_entries = static_cast<unsigned>(fs::ArchiveLimits{}.entries);
};

void add_limit_options(Command& command, LimitOptions& options);

// The limits for an image on a device of this size. Errors: invalid_argument.
Result<fs::ArchiveLimits> parse_limits(const LimitOptions& options, Bytes device);

}  // namespace dadi
