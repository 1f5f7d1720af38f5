// What `--add` names: tar archives, and folders that become some.
#pragma once

#include <string>
#include <vector>

#include "apps/dadi/command_line.h"
#include "apps/dadi/session.h"
#include "libconvert/pipeline/build.h"

namespace dadi {

struct AddOptions {
  std::string chown;  // UID:GID; empty: root
  bool keep_owner = false;
};

void add_add_options(Command& command, AddOptions& options);

// `words`: FILE, "-", DIR or DIR:PATH, each. All are read once, to know what they hold; folders and what comes through
// a pipe go to files without a name among the temporary ones. Errors, the option named: not_found, invalid_argument,
// corruption (a damaged compression), exhausted (one holds more than `most`, or no room for temporary files), those of
// fs::write_folder_archive(), cancelled.
Result<std::vector<pipeline::AddedArchive>> open_added(Session& session, const std::vector<std::string>& words,
                                                       const AddOptions& options, Bytes most);

}  // namespace dadi
