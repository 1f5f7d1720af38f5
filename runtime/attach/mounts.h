// Mounting a device, and who uses one.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "libformat/base/result.h"

namespace dadi::attach {

// What mount(2) is told, besides what it always is. A value type.
struct MountOptions {
  bool writable = false;    // or read-only
  unsigned long flags = 0;  // MS_…
  std::string data;         // the file system's own options, each behind a comma

  // From "noexec,noatime,commit=5" as mount(8) has it. Without devices and without set-user-id programs it is always,
  // and read-only unless `writable`: what says otherwise is refused. Errors: invalid_argument.
  static Result<MountOptions> parse(std::string_view text, bool writable);
};

// Mounts the ext4 file system of a block device. Its superblock has no say in what becomes of the host when it is found
// to be damaged. Errors: unsupported (another file system, or none), corruption (the kernel does not take it), denied,
// not_found, busy, io.
Result<void> mount_device(const std::string& device, const std::filesystem::path& point, const MountOptions& options);

// Everything that was written to the file system that is mounted there is durable, as far as its device makes it so.
// Errors: exhausted (there was no room for all of it), io: what could not be written.
Result<void> sync_mount(const std::filesystem::path& point);

// The same of the device itself, for those who write to it without a file system.
Result<void> sync_device(const std::string& device);

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
