#include "libconvert/registry/content_range.h"

namespace dadi::registry {

namespace {

constexpr std::string_view kUnit = "bytes";
constexpr std::size_t kMostDigits = 18;  // a number of so many is below 2^63

// Takes digits off the front. None: there are none, or too many.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t number = 0;
  std::size_t digits = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    if (digits == kMostDigits) return std::nullopt;
    number = number * 10 + static_cast<std::uint64_t>(text[digits] - '0');
  }
  text.remove_prefix(digits);
  if (digits == 0) return std::nullopt;
  return number;
}

bool take(std::string_view& text, char wanted) {
  if (!text.starts_with(wanted)) return false;
  text.remove_prefix(1);
  return true;
}

bool is_unit(std::string_view text) {
  if (text.size() != kUnit.size()) return false;
  for (std::size_t i = 0; i < kUnit.size(); ++i)
    if ((text[i] | 0x20) != kUnit[i]) return false;
  return true;
}

}  // namespace

std::optional<ContentRange> parse_content_range(std::string_view header) {
  if (!is_unit(header.substr(0, kUnit.size()))) return std::nullopt;
  header.remove_prefix(kUnit.size());
  if (!take(header, ' ')) return std::nullopt;
  while (take(header, ' ')) {
  }
  const auto first = take_number(header);
  if (!first || !take(header, '-')) return std::nullopt;
  const auto last = take_number(header);
  if (!last || !take(header, '/')) return std::nullopt;
  ContentRange range{*first, *last, {}};
  if (!take(header, '*')) {
    range.size = take_number(header);
    if (!range.size || range.last >= *range.size) return std::nullopt;
  }
  while (take(header, ' ')) {
  }
  if (!header.empty() || range.last < range.first) return std::nullopt;
  return range;
}

}  // namespace dadi::registry
