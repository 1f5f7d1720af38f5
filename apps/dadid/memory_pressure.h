// Serving a device that is written to when memory is short.
#pragma once

#include "apps/dadid/log.h"
#include "runtime/attach/records.h"

namespace dadi {

// The kernel frees memory by writing it to the device, and this process needs memory to take it. So it must not be made
// to wait for such writes itself, nor be what is killed for its memory. Does nothing for a device that is read-only;
// what this host does not permit is logged. Call before there are other threads: they inherit it.
void withstand_memory_pressure(const attach::DeviceSpec& spec, Log& log);

}  // namespace dadi
