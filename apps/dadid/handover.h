// How one dadid gives way to another program without letting go of its device: the other is executed in its place, so
// that process, lock and sockets stay what they are. What it must know is in a file in memory.
#pragma once

#include <filesystem>
#include <optional>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"
#include "runtime/attach/records.h"

namespace dadi {

struct Handover {
  UniqueFd lock;                // the device's, held
  UniqueFd control;             // the control socket, listening
  UniqueFd program;             // the one that gives way, to be gone back to; none: there is no way back
  unsigned generation = 0;      // of the one that follows
  std::optional<Error> failed;  // why the one that should have followed did not
  attach::Json backend_state;   // HostDevice::pause()
};

// Executes `program` on this handover. Returns only if that cannot be: nothing has changed then.
// Errors: not_found, denied, io.
Error execute(const std::filesystem::path& program, const std::filesystem::path& device_folder,
              const Handover& handover);

// Executes handover.program, telling it why. Returns only if that cannot be. Errors: not_found (there is no way back),
// io.
Error go_back(const std::filesystem::path& device_folder, Handover handover, Error why);

// What the program before has left in the file `descriptor`. Errors: io, corruption.
Result<Handover> receive_handover(int descriptor);

}  // namespace dadi
