// Mounting a device, and who uses one.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "libformat/base/result.h"

namespace dadi::attach {

// What mount(2) is told. A value type.
struct MountOptions {
  unsigned long flags = 0;  // MS_…
  std::string data;         // the file system's own options

  // From "noexec,noatime,commit=5" as mount(8) has it. Read-only, without devices and without set-user-id programs it
  // is always: what says otherwise is refused. Errors: invalid_argument.
  static Result<MountOptions> parse(std::string_view text);
};

// Mounts the ext4 file system of a block device. Its superblock has no say in what becomes of the host when it is found
// to be damaged. Errors: unsupported (another file system, or none), corruption (the kernel does not take it), denied,
// not_found, busy, io.
Result<void> mount_device(const std::string& device, const std::filesystem::path& point, const MountOptions& options);

// Errors: busy (hint: who uses it, as far as can be told), io. Not mounted: nothing.
Result<void> unmount(const std::filesystem::path& point, bool lazy);

// Where the device of that number is mounted, as this process sees it: absolute paths.
std::vector<std::filesystem::path> mount_points_of(dev_t device);

// The number of a block device. Errors: not_found, invalid_argument (no block device).
Result<dev_t> device_number(const std::filesystem::path& device);

// Who has the device open or uses the file system on it, for people: "process 812 (bash)", "mounted on /mnt". As far as
// /proc tells; `but` is not counted.
std::vector<std::string> users_of(dev_t device, pid_t but);

}  // namespace dadi::attach
