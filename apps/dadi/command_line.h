// The manners of the command line that CLI11 does not have by itself: help that starts with examples, the nearest
// command or option offered for a mistyped one, and flag over DADI_… variable over config file over default.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "apps/dadi/session.h"
#include "libformat/base/result.h"

namespace dadi {

// Adds the options that every command takes, and the config file; sets the form of help. Before commands are added.
void add_common_options(CLI::App& app, CommonOptions& options);

// Gives every option that takes a value, and the common flags, the variable DADI_<NAME>. After all commands are added.
void bind_environment(CLI::App& app);

// A command with the examples that its help starts with, one a line.
CLI::App* add_command(CLI::App& app, std::string name, std::string description, std::string examples);

// What is wrong with a command line that CLI11 refused, in our words, with the nearest word that would have been right.
Error explain(const CLI::App& app, const CLI::ParseError& error);

// The one of `words` that `typed` was probably meant to be, or "".
std::string nearest(std::string_view typed, const std::vector<std::string>& words);

}  // namespace dadi
