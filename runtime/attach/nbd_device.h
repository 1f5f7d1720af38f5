// What /sys tells of a kernel nbd device, and lets be set.
#pragma once

#include <cstdint>
#include <string>

#include "libformat/base/result.h"

namespace dadi::attach {

// "/dev/nbd0"
std::string nbd_device_path(std::uint32_t index);

struct NbdDeviceState {
  bool set_up = false;     // it has a size and connections, which may be dead
  std::string identifier;  // that it was set up with; empty where the kernel is older than 5.14
};
NbdDeviceState nbd_device_state(std::uint32_t index);

// Whether it is one that nbd made on demand, not one of those that were there when nbd was loaded.
bool nbd_device_is_extra(std::uint32_t index);

// Lets requests be as large as our server answers at once, reads ahead more than a disk would want, and queues without
// a scheduler: there is no disk whose head would move. What the kernel does not take stays as it is.
void tune_nbd_device(std::uint32_t index);

// Errors: busy (mounted, or held by a program or another device, for itself alone), io.
Result<void> check_not_held(const std::string& device);

}  // namespace dadi::attach
