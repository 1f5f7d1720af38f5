// The programs of e2fsprogs, for what is done to a file system from outside.
#pragma once

#include <string>
#include <vector>

#include "libformat/base/result.h"

namespace dadi::attach {

// Where the program of that name is. Errors: host_lacks (it is not installed; the hint is the caller's).
Result<std::string> find_e2fsprogs(const std::string& name);

struct ProgramRun {
  int status = 0;      // of the exit; 128 + the signal that ended it
  std::string output;  // standard output and error, the end of it

  // The last that is not empty, "" if there is none.
  std::string last_line() const;
};

// Runs it to its end, with nothing to read. `words` are its arguments. Errors: io, those of starting it.
Result<ProgramRun> run_e2fsprogs(const std::string& program, std::vector<std::string> words);

}  // namespace dadi::attach
