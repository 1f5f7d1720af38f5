// The backend `nbd`: a device of the kernel's nbd driver, served over pairs of sockets. It outlives its process:
// requests wait for a successor, which takes the device over, or is handed the sockets and misses nothing. One that is
// written to must know that the predecessor had flushed everything that it confirmed: see write_ledger.h.
#pragma once

#include <memory>

#include "libformat/base/result.h"
#include "runtime/attach/backend.h"

namespace dadi::attach {

Result<void> probe_kernel_nbd();
Result<std::unique_ptr<HostDevice>> create_kernel_nbd(HostDeviceRequest request);
Result<void> give_up_kernel_nbd(const Json& state);
Result<void> clean_up_kernel_nbd(const Json& state);

}  // namespace dadi::attach
