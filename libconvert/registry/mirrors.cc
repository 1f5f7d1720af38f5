#include "libconvert/registry/mirrors.h"

// As headers alone: no library is needed where dadi runs.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
// It refuses "[!", and asserts before that there is no such input, which lets some compilers leave the refusal out.
#pragma push_macro("NDEBUG")
#undef NDEBUG
#define TOML_ASSERT(expr) static_assert(true)
#include <toml++/toml.h>
#pragma pop_macro("NDEBUG")

#include <algorithm>
#include <optional>

#include "libformat/base/bytes.h"
#include "libformat/blob/file_blob.h"

namespace dadi::registry {

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMostBytes = 64 << 10;  // of a file; it may nest its tables that deep
constexpr std::size_t kMostMirrors = 16;

struct Mirror {
  std::string location;
  bool insecure = false;
  std::string pulls = "all";  // or "digest-only", "tag-only"
};

struct Rule {
  std::string prefix, location;
  bool insecure = false, blocked = false;
  std::vector<Mirror> mirrors;
};

std::string without_slash(std::string text) {
  while (text.ends_with('/')) text.pop_back();
  return text;
}

std::string text_at(const toml::table& table, std::string_view name, const std::string& otherwise = {}) {
  return table[name].value<std::string>().value_or(otherwise);
}

bool flag_at(const toml::table& table, std::string_view name) {
  return table[name].value<bool>().value_or(false);
}

Result<Rule> parse_rule(const toml::table& table) {
  Rule rule{.prefix = text_at(table, "prefix"),
            .location = without_slash(text_at(table, "location")),
            .insecure = flag_at(table, "insecure"),
            .blocked = flag_at(table, "blocked"),
            .mirrors = {}};
  if (rule.prefix.empty()) rule.prefix = rule.location;
  rule.prefix = without_slash(rule.prefix);
  if (rule.prefix.empty()) return Error::corruption("a [[registry]] with neither prefix nor location");
  const std::string pulls = flag_at(table, "mirror-by-digest-only") ? "digest-only" : "all";
  const toml::array* mirrors = table["mirror"].as_array();
  for (std::size_t i = 0; mirrors != nullptr && i < std::min(mirrors->size(), kMostMirrors); ++i) {
    const toml::table* mirror = mirrors->get(i)->as_table();
    if (mirror == nullptr) return Error::corruption("a mirror of {} that is no table", rule.prefix);
    rule.mirrors.push_back({.location = without_slash(text_at(*mirror, "location")),
                            .insecure = flag_at(*mirror, "insecure"),
                            .pulls = text_at(*mirror, "pull-from-mirror", pulls)});
    if (rule.mirrors.back().location.empty())
      return Error::corruption("a mirror of {} without a location", rule.prefix);
  }
  return rule;
}

// Adds the rules of a file.
Result<void> load(const fs::path& path, std::vector<Rule>& rules) {
  auto blob = FileBlob::open(path);
  if (!blob && blob.error().code() == ErrorCode::kNotFound) return {};
  if (!blob) return std::move(blob).error();
  if ((*blob)->size().value > kMostBytes) return Error::corruption("{}: too large", path.string());
  DADI_TRY(const auto bytes, read_range(**blob, {0}, (*blob)->size()));
  const toml::parse_result parsed = toml::parse(as_text(bytes));
  if (!parsed)
    return Error::corruption("{}: line {}: {}", path.string(), parsed.error().source().begin.line,
                             parsed.error().description());
  const toml::array* tables = parsed.table()["registry"].as_array();
  for (std::size_t i = 0; tables != nullptr && i < tables->size(); ++i) {
    const toml::table* table = tables->get(i)->as_table();
    if (table == nullptr) return Error::corruption("{}: a registry that is no table", path.string());
    DADI_TRY(rules.emplace_back(), parse_rule(*table).context("{}", path.string()));
  }
  return {};
}

// How much of the name a prefix covers: all of it, or up to a '/'; "*.example.com" covers the hosts below.
std::optional<std::size_t> covered(const std::string& prefix, const std::string& name) {
  if (prefix.starts_with("*.")) {
    const std::string_view host = std::string_view(name).substr(0, name.find('/'));
    if (!host.ends_with(std::string_view(prefix).substr(1))) return std::nullopt;
    return host.size();
  }
  if (!name.starts_with(prefix)) return std::nullopt;
  if (name.size() != prefix.size() && name[prefix.size()] != '/') return std::nullopt;
  return prefix.size();
}

// Of rules that cover a name the heaviest counts: the longest, and of those one without a '*'.
std::pair<std::size_t, bool> weight(const Rule& rule) {
  return {rule.prefix.size(), !rule.prefix.starts_with('*')};
}

Result<Place> place_at(const std::string& location, const std::string& rest, bool insecure) {
  const std::string name = location + rest;
  const std::size_t slash = name.find('/');
  const bool plain = std::ranges::none_of(name, [](unsigned char c) { return c <= ' ' || c == 127 || c == '@'; });
  if (slash == 0 || slash == std::string::npos || name.find("//") != std::string::npos || !plain)
    return Error::corruption("\"{}\" is not the location of a registry", location);
  return Place{name.substr(0, slash), name.substr(slash + 1), insecure};
}

}  // namespace

Result<std::vector<Place>> places_to_pull(const std::vector<fs::path>& files, const std::string& host,
                                          const std::string& repository, bool by_digest) {
  std::vector<Rule> rules;
  for (const fs::path& file : files) DADI_CHECK(load(file, rules));
  const std::string name = host + "/" + repository;
  const Rule* best = nullptr;
  for (const Rule& rule : rules)
    if (covered(rule.prefix, name) && (best == nullptr || weight(rule) >= weight(*best))) best = &rule;
  if (best == nullptr) return std::vector<Place>{{host, repository}};
  if (best->blocked)
    return Error::denied("{} is blocked by this host's registries.conf", best->prefix)
        .with_hint("the administrator of this host decides that, in containers-registries.conf(5)");
  const std::size_t length = *covered(best->prefix, name);
  const std::string rest = name.substr(length);
  std::vector<Place> places;
  for (const Mirror& mirror : best->mirrors) {
    if (mirror.pulls == (by_digest ? "tag-only" : "digest-only")) continue;
    DADI_TRY(places.emplace_back(), place_at(mirror.location, rest, mirror.insecure));
  }
  const std::string own = best->location.empty() ? name.substr(0, length) : best->location;
  DADI_TRY(places.emplace_back(), place_at(own, rest, best->insecure));
  return places;
}

}  // namespace dadi::registry
