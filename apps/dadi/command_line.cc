#include "apps/dadi/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <limits>
#include <map>
#include <numeric>
#include <utility>

namespace dadi {
namespace {

constexpr std::string_view kVariablePrefix = "DADI_";

// "--cache-dir" and "cache-dir" are DADI_CACHE_DIR.
std::string variable_of(std::string_view option) {
  std::string name(kVariablePrefix);
  for (const char c : option.substr(option.find_first_not_of('-'))) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

bool is_set(const std::string& variable) {
  const char* value = std::getenv(variable.c_str());
  return value != nullptr && *value != '\0';
}

// A config file in which settings whose variable is set do not count: CLI11 by itself prefers the file.
class ConfigBelowEnvironment final : public CLI::ConfigTOML {
 public:
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override {
    auto settings = CLI::ConfigTOML::from_config(input);
    std::erase_if(settings, [](const CLI::ConfigItem& item) {
      return item.name != "++" && item.name != "--" && is_set(variable_of(item.name));
    });
    return settings;
  }
};

// The first that exists of the user's and the system's.
std::string default_config_file() {
  std::vector<std::filesystem::path> places;
  const char* config_home = std::getenv("XDG_CONFIG_HOME");
  const char* home = std::getenv("HOME");
  if (config_home != nullptr && *config_home != '\0') {
    places.emplace_back(std::filesystem::path(config_home) / "dadi/config.toml");
  } else if (home != nullptr && *home != '\0') {
    places.emplace_back(std::filesystem::path(home) / ".config/dadi/config.toml");
  }
  places.emplace_back("/etc/dadi/config.toml");
  std::error_code ignored;
  for (const auto& place : places) {
    if (std::filesystem::exists(place, ignored)) return place.string();
  }
  return "";
}

bool is_flag(const CLI::Option& option) {
  return option.get_items_expected_max() == 0;
}

// Examples first; then what the command does, its arguments and options, and those of every command.
class ExamplesFirst final : public CLI::Formatter {
 public:
  ExamplesFirst() {
    column_width(28);
    label("Positionals", "Arguments");
    label("SUBCOMMAND", "COMMAND");
  }

  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override {
    std::string text;
    if (!app->get_footer().empty()) {
      text += "Examples:\n";
      std::istringstream examples(app->get_footer());
      for (std::string line; std::getline(examples, line);) text += "  " + line + "\n";
      text += '\n';
    }
    text += make_description(app) + "\n" + make_usage(app, std::move(name)) + make_positionals(app);
    text += make_groups(app, mode) + make_subcommands(app, mode);
    if (const CLI::App* top = app->get_parent()) {
      while (top->get_parent() != nullptr) top = top->get_parent();
      text += make_group("Common options", false, top->get_options([top](const CLI::Option* option) {
        return option->nonpositional() && option != top->get_help_ptr() && option != top->get_version_ptr();
      }));
    }
    return text;
  }

  // What a flag stands for without a value is left to its description.
  std::string make_option_name(const CLI::Option* option, bool positional) const override {
    if (positional) return CLI::Formatter::make_option_name(option, positional);
    std::vector<std::string> names;
    for (const std::string& name : option->get_snames()) names.push_back("-" + name);
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    return CLI::detail::join(names, ",");
  }

  // The variables are not repeated for every option: their names follow one rule.
  std::string make_option_opts(const CLI::Option* option) const override {
    std::string text;
    if (option->nonpositional() && !is_flag(*option)) text = " " + option->get_type_name();
    if (option->nonpositional() && is_flag(*option) && !option->get_type_name().empty())
      text = "[=" + option->get_type_name() + "]";
    if (!option->get_default_str().empty()) text += "=" + option->get_default_str();
    return text;
  }
};

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  }
  if (app.get_parent() != nullptr) {
    const auto more = option_names(*app.get_parent());
    names.insert(names.end(), more.begin(), more.end());
  }
  return names;
}

std::vector<std::string> command_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

std::string full_name(const CLI::App& app) {
  return app.get_parent() == nullptr ? app.get_name() : full_name(*app.get_parent()) + " " + app.get_name();
}

// The command that was being parsed: the innermost that was named.
const CLI::App& innermost(const CLI::App& app) {
  const auto named = app.get_subcommands();
  return named.empty() ? app : innermost(*named.front());
}

Error with_nearest(Error error, const CLI::App& app, const std::string& guess) {
  if (!guess.empty()) return std::move(error).with_hint("did you mean {}? See {} --help", guess, full_name(app));
  return std::move(error).with_hint("see {} --help", full_name(app));
}

ProgressMode progress_mode_of(const std::string& name) {
  static const std::map<std::string, ProgressMode> kModes = {{"auto", ProgressMode::kAuto},
                                                             {"tty", ProgressMode::kTty},
                                                             {"plain", ProgressMode::kPlain},
                                                             {"json", ProgressMode::kJson},
                                                             {"none", ProgressMode::kNone}};
  const auto mode = kModes.find(name);
  // An exception is how CLI11 is told.
  if (mode == kModes.end()) throw CLI::ValidationError("--progress", "auto, tty, plain, json or none, not " + name);
  return mode->second;
}

void add_common_options(CLI::App& app, CommonOptions& options) {
  app.formatter(std::make_shared<ExamplesFirst>());
  app.config_formatter(std::make_shared<ConfigBelowEnvironment>());
  app.allow_config_extras(CLI::config_extras_mode::error);  // a misspelt setting is not silently nothing
  app.fallthrough();                                        // common options are understood behind the command, too
  app.require_subcommand(1);
  app.add_flag("--json", options.json, "The answer as JSON");
  app.add_flag("-q,--quiet", options.quiet, "No progress and no notes, only errors");
  app.add_flag("-v,--verbose", options.verbose, "Say more on stderr");
  const auto set_progress = [&options](const std::string& name) { options.progress = progress_mode_of(name); };
  app.add_option_function<std::string>("--progress", set_progress, "auto, tty, plain, json or none")->type_name("MODE");
  app.set_config("--config-file", default_config_file(), "Defaults for options, as TOML")->type_name("FILE");
}

// Gives every option that takes a value, and the common flags, the variable DADI_<NAME>.
void bind_environment(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    const bool common = app.get_parent() == nullptr && option != app.get_help_ptr() && option != app.get_version_ptr();
    if (option->get_lnames().empty() || (is_flag(*option) && !common)) continue;
    option->envname(variable_of(option->get_lnames().front()));
  }
  for (CLI::App* command : app.get_subcommands({})) bind_environment(*command);
}

CLI::App& add_command(CLI::App& above, const std::string& name, const std::string& description,
                      const std::string& examples) {
  CLI::App* command = above.add_subcommand(name, description);
  command->footer(examples);
  command->group("Commands");
  return *command;
}

// What is wrong with a command line that CLI11 refused, in our words, with the nearest word that would have been right.
Error explain(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& at = innermost(app);
  const auto commands = command_names(at);
  const auto remaining = app.remaining(true);
  for (const std::string& word : remaining) {
    if (word.size() > 1 && word.front() == '-') {
      return with_nearest(Error::invalid_argument("{} has no option {}", full_name(at), word), at,
                          nearest(word.substr(0, word.find('=')), option_names(at)));
    }
    if (!commands.empty()) {
      return with_nearest(Error::invalid_argument("{} has no command \"{}\"", full_name(at), word), at,
                          nearest(word, commands));
    }
  }
  if (!remaining.empty()) {
    return with_nearest(
        Error::invalid_argument("{}: \"{}\" is one argument too many", full_name(at), remaining.front()), at, "");
  }
  if (dynamic_cast<const CLI::RequiredError*>(&error) != nullptr && !commands.empty()) {
    return with_nearest(Error::invalid_argument("a command is missing"), at, "");
  }
  return with_nearest(Error::invalid_argument("{}: {}", full_name(at), error.what()), at, "");
}

}  // namespace

Command& Command::added(CLI::Option* option) {
  previous_ = std::exchange(last_, option);
  return *this;
}

Command& Command::argument(const std::string& name, std::string& value, const std::string& help) {
  return added(app_->add_option(name, value, help)->required());
}

Command& Command::optional_argument(const std::string& name, std::string& value, const std::string& help) {
  return added(app_->add_option(name, value, help)->capture_default_str());
}

Command& Command::arguments(const std::string& name, std::vector<std::string>& values, const std::string& help) {
  return added(app_->add_option(name, values, help)->required());
}

Command& Command::trailing_arguments(const std::string& name, std::vector<std::string>& values,
                                     const std::string& help) {
  return added(app_->add_option(name, values, help));
}

Command& Command::option(const std::string& names, std::string& value, const std::string& placeholder,
                         const std::string& help) {
  return added(app_->add_option(names, value, help)->type_name(placeholder)->capture_default_str());
}

Command& Command::option(const std::string& names, unsigned& value, const std::string& placeholder,
                         const std::string& help) {
  return added(app_->add_option(names, value, help)->type_name(placeholder)->capture_default_str());
}

Command& Command::options(const std::string& names, std::vector<std::string>& values, const std::string& placeholder,
                          const std::string& help) {
  return added(app_->add_option(names, values, help)->type_name(placeholder)->allow_extra_args(false));
}

Command& Command::ordered_options(const std::string& name, std::vector<std::pair<std::string, std::string>>& values,
                                  const std::string& placeholder, const std::string& help) {
  const auto add = [name, &values](const std::vector<std::string>& given) {
    for (const std::string& value : given) values.emplace_back(name, value);
  };
  return added(app_->add_option_function<std::vector<std::string>>(name, add, help)
                   ->type_name(placeholder)
                   ->allow_extra_args(false)
                   ->trigger_on_parse());
}

Command& Command::flag(const std::string& names, bool& value, const std::string& help) {
  return added(app_->add_flag(names, value, help));
}

Command& Command::flag_with_value(const std::string& name, std::string& value, const std::string& bare,
                                  const std::string& placeholder, const std::string& help) {
  return added(app_->add_flag(name + "{" + bare + "}", value, help)->type_name(placeholder));
}

Command& Command::one_of(const std::vector<std::string>& values) {
  last_->check(CLI::IsMember(values).description(""));
  return *this;
}

Command& Command::at_least(unsigned value) {
  last_->check(CLI::Range(value, std::numeric_limits<unsigned>::max()).description(""));
  return *this;
}

Command& Command::required() {
  last_->required();
  return *this;
}

Command& Command::instead_of_previous() {
  last_->excludes(previous_);
  return *this;
}

Command Command::add(const std::string& name, const std::string& description, const std::string& examples) {
  app_->require_subcommand(1);
  return Command(add_command(*app_, name, description, examples));
}

void Command::run(std::function<void()> work) {
  app_->callback(std::move(work));
}

CommandLine::CommandLine(const std::string& description, const std::string& examples, CommonOptions& options)
    : app_(std::make_unique<CLI::App>(description, "dadi")) {
  app_->footer(examples);
  add_common_options(*app_, options);
  app_->set_version_flag("--version", "dadi " DADI_VERSION);
}

CommandLine::~CommandLine() = default;

Command CommandLine::add(const std::string& name, const std::string& description, const std::string& examples) {
  return Command(add_command(*app_, name, description, examples));
}

Result<void> CommandLine::run(int argc, const char* const* argv) {
  bind_environment(*app_);
  try {
    app_->parse(argc, argv);
  } catch (const CLI::Success& help) {
    app_->exit(help, std::cout, std::cerr);
  } catch (const CLI::ParseError& error) {
    if (argc <= 1) std::cerr << app_->help();
    return explain(*app_, error);
  }
  return {};
}

std::string nearest(std::string_view typed, const std::vector<std::string>& words) {
  // Edits that turn `typed` into `word`: insert, delete, replace, or swap two neighbours.
  const auto distance = [](std::string_view a, std::string_view b) {
    std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
    for (std::size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
    std::iota(d[0].begin(), d[0].end(), std::size_t{0});
    for (std::size_t i = 1; i <= a.size(); ++i) {
      for (std::size_t j = 1; j <= b.size(); ++j) {
        d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
          d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
      }
    }
    return d[a.size()][b.size()];
  };
  constexpr std::size_t kLongestWord = 64;
  if (typed.size() > kLongestWord) return "";
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(1, typed.size() / 3) + 1;
  for (const std::string& word : words) {
    if (const std::size_t d = distance(typed, word); d < best_distance) {
      best = word;
      best_distance = d;
    }
  }
  return best;
}

}  // namespace dadi
