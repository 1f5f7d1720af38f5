// Starting a dadid.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"

namespace dadi::attach {

// The descriptors that a dadid finds open when it is started by an attach.
inline constexpr int kLockFd = 3;     // the device's lock, held
inline constexpr int kControlFd = 4;  // the control socket, listening
inline constexpr int kReadyFd = 5;    // a pipe for one line of JSON: the state, or an error
inline constexpr int kFirstInherited = kLockFd;

// Starts `program` in a session of its own, without this process's signals and terminal. It inherits `descriptors` as
// 3, 4, … and writes its messages to the file `log`. Returns its process id; the caller need not wait for it. Errors:
// not_found, denied, io.
Result<pid_t> spawn_daemon(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                           const std::vector<int>& descriptors, const std::filesystem::path& log);

// Moves this process out of the control group that it was started in, so that it lives on when that ends: into a scope
// of its own where systemd runs, else into the topmost groups. As far as the host permits it.
void leave_control_group(const std::string& scope);

}  // namespace dadi::attach
