#include "apps/dadi/config_options.h"

#include "apps/dadi/printable.h"
#include "apps/dadi/session.h"

namespace dadi {
namespace {

Result<std::pair<std::string, std::string>> parse_pair(const char* option, const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos) return Error::invalid_argument("{} {}: not NAME=VALUE", option, text);
  return std::pair(text.substr(0, equals), text.substr(equals + 1));
}

// As in a Dockerfile: an array of words in JSON, or a command for the shell.
Result<std::vector<std::string>> parse_words(const char* option, const std::string& text) {
  using Words = std::vector<std::string>;
  if (!text.starts_with('[')) return Words{"/bin/sh", "-c", text};
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto malformed = [&] { return Error::invalid_argument("{} {}: not a JSON array of words", option, text); };
  if (!json.is_array()) return malformed();
  Words words;
  for (const Json& word : json) {
    if (!word.is_string()) return malformed();
    words.push_back(word.get<std::string>());
  }
  return words;
}

// JSON holds nothing else.
Result<void> check_text(const char* option, const std::vector<std::string>& texts) {
  for (const std::string& text : texts)
    if (!is_utf8(text)) return Error::invalid_argument("{} {}: not UTF-8", option, as_utf8(text));
  return {};
}

}  // namespace

void add_config_options(Command& command, ConfigWords& words) {
  command.options("--env", words.env, "NAME=VALUE", "A variable of containers' environment; may be repeated")
      .options("--label", words.labels, "NAME=VALUE", "A label of the image; may be repeated")
      .option("--entrypoint", words.entrypoint, "WORDS", R"(What containers run, as in '["/bin/app"]'; [] is nothing)")
      .option("--cmd", words.cmd, "WORDS", R"(Its arguments, as in '["-v", "x"]', or a command for the shell)")
      .option("--user", words.user, "USER", "Whom containers run as")
      .option("--workdir", words.workdir, "DIR", "The folder in which they start");
}

Result<oci::ConfigChanges> parse_config_changes(const ConfigWords& words) {
  DADI_CHECK(check_text("--env", words.env));
  DADI_CHECK(check_text("--label", words.labels));
  DADI_CHECK(check_text("--entrypoint", {words.entrypoint}));
  DADI_CHECK(check_text("--cmd", {words.cmd}));
  DADI_CHECK(check_text("--user", {words.user}));
  DADI_CHECK(check_text("--workdir", {words.workdir}));
  oci::ConfigChanges changes;
  for (const std::string& text : words.env) {
    DADI_TRY(auto pair, parse_pair("--env", text));
    changes.env.push_back(std::move(pair));
  }
  for (const std::string& text : words.labels) {
    DADI_TRY(auto pair, parse_pair("--label", text));
    changes.labels.insert_or_assign(std::move(pair.first), std::move(pair.second));
  }
  if (!words.entrypoint.empty()) {
    DADI_TRY(changes.entrypoint, parse_words("--entrypoint", words.entrypoint));
  }
  if (!words.cmd.empty()) {
    DADI_TRY(changes.cmd, parse_words("--cmd", words.cmd));
  }
  if (!words.user.empty()) changes.user = words.user;
  if (!words.workdir.empty()) changes.workdir = words.workdir;
  return changes;
}

}  // namespace dadi
