// The options of commands that change what containers of an image run as.
#pragma once

#include <string>
#include <vector>

#include "apps/dadi/command_line.h"
#include "libconvert/oci/config.h"

namespace dadi {

// As they were given; empty: not at all.
struct ConfigWords {
  std::vector<std::string> env;
  std::vector<std::string> labels;
  std::string entrypoint;
  std::string cmd;
  std::string user;
  std::string workdir;
};

void add_config_options(Command& command, ConfigWords& words);

// Errors: invalid_argument, the option named.
Result<oci::ConfigChanges> parse_config_changes(const ConfigWords& words);

}  // namespace dadi
