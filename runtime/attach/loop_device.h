// Loop devices, by number: /dev/loop3 is 3.
#pragma once

#include <string>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"

namespace dadi::attach {

// A loop device over a file, with direct I/O and blocks of 512 bytes: that is what the formats count in, so a
// device of any size is whole, and a file system's own larger blocks are read as one anyhow. It is kept by being open;
// once nobody has it open it is free again, also when this process is killed. Move-only.
class LoopDevice {
 public:
  // Takes the next free device, over the file `name` of the open folder `folder`. This process may be the one that
  // serves the file, and may be killed meanwhile: it is another process that opens it.
  // Errors: host_lacks (no loop driver, no free device), denied, io.
  static Result<LoopDevice> over(int folder, const std::string& name, bool writable);

  unsigned number() const { return number_; }
  std::string path() const;

  // Frees it, once all that was written is with the file, and flushed there. Errors: busy (somebody has claimed it, as
  // a mount does); io, exhausted (what was written could not be: it goes on).
  Result<void> remove();
  // Frees it once nobody else has it open.
  void let_go() { keeper_ = UniqueFd(); }

 private:
  LoopDevice(unsigned number, bool writable, UniqueFd keeper)
      : number_(number), writable_(writable), keeper_(std::move(keeper)) {}

  unsigned number_;
  bool writable_;
  UniqueFd keeper_;  // a socket, with the open device as a message that nobody receives
};

// Whether the device is in use over a file called `name`.
bool is_loop_over(unsigned number, const std::string& name);

// Frees a device that nobody keeps. Errors: busy (it is mounted: it frees itself when it no longer is), io.
Result<void> clear_loop(unsigned number);

}  // namespace dadi::attach
