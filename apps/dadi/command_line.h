// The command line: commands with their words, options and help. CLI11 parses; it is compiled in command_line.cc alone,
// because every file that includes it costs seconds. What CLI11 does not have by itself is added there, too: help that
// starts with examples, the nearest command or option offered for a mistyped one, and flag over DADI_… variable over
// config file over default.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/dadi/session.h"
#include "libformat/base/result.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace dadi {

// A command being declared. The variables it is given are filled before the command runs, and must live until then (see
// Session::keep); the value that one has now is its default. A view: copies stand for the same command.
class Command {
 public:
  // Words that come in order.
  Command& argument(const std::string& name, std::string& value, const std::string& help);
  Command& optional_argument(const std::string& name, std::string& value, const std::string& help);
  // One or more.
  Command& arguments(const std::string& name, std::vector<std::string>& values, const std::string& help);
  // Any number, of another program's command line. What begins with a dash stands behind "--".
  Command& trailing_arguments(const std::string& name, std::vector<std::string>& values, const std::string& help);

  // "--name" or "-n,--name"; `placeholder` stands for the value in help.
  Command& option(const std::string& names, std::string& value, const std::string& placeholder,
                  const std::string& help);
  Command& option(const std::string& names, unsigned& value, const std::string& placeholder, const std::string& help);
  // May be given several times, each time with one value.
  Command& options(const std::string& names, std::vector<std::string>& values, const std::string& placeholder,
                   const std::string& help);
  // The same for options whose order among each other matters: all that are given the same `values` fill it together,
  // as on the command line, each value with the name of its option.
  Command& ordered_options(const std::string& name, std::vector<std::pair<std::string, std::string>>& values,
                           const std::string& placeholder, const std::string& help);
  Command& flag(const std::string& names, bool& value, const std::string& help);

  // "--name", which stands for `bare`, or "--name=VALUE".
  Command& flag_with_value(const std::string& name, std::string& value, const std::string& bare,
                           const std::string& placeholder, const std::string& help);

  // Of the option that was declared last: what it may be.
  Command& one_of(const std::vector<std::string>& values);
  Command& at_least(unsigned value);
  // Of the option that was declared last: it must be there.
  Command& required();
  // Of the flag that was declared last: not together with the one before it.
  Command& instead_of_previous();

  // A command below this one, as in `dadi zfile info`; this one then does nothing by itself.
  Command add(const std::string& name, const std::string& description, const std::string& examples);

  // What the command does, once everything is parsed.
  void run(std::function<void()> work);

 private:
  friend class CommandLine;
  explicit Command(CLI::App& app) : app_(&app) {}
  Command& added(CLI::Option* option);

  CLI::App* app_;
  CLI::Option* last_ = nullptr;
  CLI::Option* previous_ = nullptr;
};

// One thread.
class CommandLine {
 public:
  // `options` are filled from the command line before a command runs.
  CommandLine(const std::string& description, const std::string& examples, CommonOptions& options);
  ~CommandLine();

  // `examples`: one a line; help starts with them.
  Command add(const std::string& name, const std::string& description, const std::string& examples);

  // Parses the words and runs the command that they name, or prints the help or version that they ask for. Call once.
  // Errors: invalid_argument (words that make no sense, with the nearest that would have).
  Result<void> run(int argc, const char* const* argv);

 private:
  std::unique_ptr<CLI::App> app_;
};

// The one of `words` that `typed` was probably meant to be, or "".
std::string nearest(std::string_view typed, const std::vector<std::string>& words);

}  // namespace dadi
