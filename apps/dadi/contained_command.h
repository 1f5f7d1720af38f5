// A command of an image's that runs with the image as its root.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"

namespace dadi {

struct Containment {
  std::string root;                // a mount point: the image
  std::vector<std::string> words;  // the command, looked for inside by the PATH in `environment`
  // NAME=VALUE, all there is
  std::vector<std::string> environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"};
  std::string directory = "/";    // where it starts, inside
  bool host_network = false;      // else there is none but an interface for itself
  bool output_to_stderr = false;  // its standard output
  bool no_input = false;          // its standard input is empty
};

// A running command, in namespaces of its own: it sees its own processes only, has /proc, /dev and empty /tmp, /run and
// /var/tmp of its own where the image has such folders, and of root's capabilities those that reach nothing beyond
// them. What it started ends with it, and it ends with the thread that started it. For root.
class ContainedCommand {
 public:
  // Errors: not_found, denied (the command, inside), host_lacks (namespaces), io.
  static Result<ContainedCommand> start(const Containment& containment);

  // Readable, for poll, once the command has ended.
  int fd() const { return process_.get(); }
  pid_t pid() const { return pid_; }  // of a process in its namespaces, as the host sees it
  void terminate() const;             // asks it to end
  void kill() const;
  void end();  // asks it to end, and after some seconds ends it; instead of wait()
  // Waits for its end: its exit status, or 128 + the signal that ended it. Call once.
  int wait();

 private:
  ContainedCommand(pid_t pid, UniqueFd process) : pid_(pid), process_(std::move(process)) {}

  pid_t pid_;
  UniqueFd process_;  // a pidfd
};

}  // namespace dadi
