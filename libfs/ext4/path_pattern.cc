#include "libfs/ext4/path_pattern.h"

namespace dadi::fs {
namespace {

// What one byte is compared with.
struct Place {
  std::size_t length = 0;  // in the pattern
  bool holds = false;
};

// REQUIRES: `pattern` begins with "[".
Place in_brackets(std::string_view pattern, char c) {
  std::size_t at = 1;
  const bool others = at < pattern.size() && (pattern[at] == '!' || pattern[at] == '^');
  if (others) ++at;
  const auto byte = static_cast<unsigned char>(c);
  bool found = false;
  for (const std::size_t first = at; at < pattern.size(); ++at) {
    if (pattern[at] == ']' && at > first) return {at + 1, found != others};
    const auto low = static_cast<unsigned char>(pattern[at]);
    unsigned char high = low;
    if (at + 2 < pattern.size() && pattern[at + 1] == '-' && pattern[at + 2] != ']') {
      at += 2;
      high = static_cast<unsigned char>(pattern[at]);
    }
    found = found || (low <= byte && byte <= high);
  }
  return {1, c == '['};
}

// REQUIRES: `pattern` is not empty, and does not begin with "*".
Place compare(std::string_view pattern, char c) {
  if (pattern.front() == '?') return {1, true};
  if (pattern.front() == '[') return in_brackets(pattern, c);
  return {1, pattern.front() == c};
}

}  // namespace

bool is_pattern(std::string_view text) {
  return text.find_first_of("*?[") != text.npos;
}

bool matches_pattern(std::string_view pattern, std::string_view name, std::uint64_t& steps) {
  std::size_t at = 0;                         // in the pattern
  std::size_t star = std::string_view::npos;  // behind the last one
  std::size_t taken = 0;                      // where in the name what it does not stand for begins
  for (std::size_t i = 0; i < name.size();) {
    ++steps;
    if (at < pattern.size() && pattern[at] == '*') {
      star = ++at;
      taken = i;
      continue;
    }
    if (at < pattern.size()) {
      const Place place = compare(pattern.substr(at), name[i]);
      steps += place.length;
      if (place.holds) {
        at += place.length;
        ++i;
        continue;
      }
    }
    if (star == pattern.npos) return false;
    at = star;
    i = ++taken;
  }
  return pattern.find_first_not_of('*', at) == pattern.npos;
}

}  // namespace dadi::fs
