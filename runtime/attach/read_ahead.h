// How far the kernel reads ahead of those who read files on a block device: docs/explanation/what-a-cold-start-costs.md
// says what it changes.
#pragma once

#include <string>

#include "libformat/base/units.h"

namespace dadi::attach {

inline constexpr Bytes kKernelsReadAhead{128U << 10};  // what kernels begin with
// Each request crosses the kernel several times: files that are read in order come a seventh faster than with that.
inline constexpr Bytes kReadAhead{512U << 10};
// Of what is far away: who waits for one page had better wait for those around it, too, at the same time.
inline constexpr Bytes kFarReadAhead{2U << 20};
// While what will be read is known, or is being found out: what is read around it would be fetched for nothing.
inline constexpr Bytes kLittleReadAhead{32U << 10};

// Of files that are opened from now on. `device`: its path, as in "/dev/loop3". Where the host does not let itself be
// told, it stays as it is. Does not open the device.
void set_read_ahead(const std::string& device, Bytes bytes);

}  // namespace dadi::attach
