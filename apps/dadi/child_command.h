// A command of the user's that runs beside dadi.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"

namespace dadi {

// A running process. Destroyed while it runs, it is left alone.
class ChildCommand {
 public:
  // Runs `sh -c text` with `variables` added to the environment, and signals as dadi itself was given them.
  // Errors: those of posix_spawn.
  static Result<ChildCommand> start(const std::string& text,
                                    const std::vector<std::pair<std::string, std::string>>& variables);

  // Readable, for poll, once the process has ended.
  int fd() const { return process_.get(); }
  void terminate() const;
  // Waits for its end: its exit status, or 128 + the signal that ended it. Call once.
  int wait();

 private:
  ChildCommand(pid_t pid, UniqueFd process) : pid_(pid), process_(std::move(process)) {}

  pid_t pid_;
  UniqueFd process_;  // a pidfd
};

// Whether a process, known by its pidfd, has ended; it is waited for so long.
bool has_ended(int pidfd, std::chrono::milliseconds wait);

// The process that started this one, as a pidfd. Errors: host_lacks (an old kernel).
Result<UniqueFd> parent_process();

}  // namespace dadi
