#include "apps/dadi/archive_limits.h"

#include "apps/dadi/sizes.h"

namespace dadi {

void add_limit_options(Command& command, LimitOptions& options) {
  command
      .option("--max-size", options.max_size, "SIZE",
              "Give up when the layers hold more than this, uncompressed; default: twice the device's size")
      .option("--max-entries", options.max_entries, "N", "Give up when the layers have more entries than this");
}

Result<fs::ArchiveLimits> parse_limits(const LimitOptions& options, Bytes device) {
  // Layers that replace what is below them hold more than the device can, but hardly twice as much.
  fs::ArchiveLimits limits{.entries = options.max_entries, .size = device * 2};
  if (!options.max_size.empty()) {
    DADI_TRY(limits.size, parse_size(options.max_size).context("--max-size"));
  }
  return limits;
}

}  // namespace dadi
