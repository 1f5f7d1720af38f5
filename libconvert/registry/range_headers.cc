#include "libconvert/registry/range_headers.h"

#include <utility>

#include "libformat/base/ascii.h"

namespace dadi::registry {

namespace {

constexpr std::string_view kUnit = "bytes";
constexpr std::size_t kMostDigits = 18;

// Takes digits off the front. None: there are none, or too many.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t number = 0;
  std::size_t digits = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    if (digits == kMostDigits) return std::nullopt;
    number = number * 10 + static_cast<std::uint64_t>(text[digits] - '0');
  }
  text.remove_prefix(digits);
  return digits == 0 ? std::nullopt : std::optional(number);
}

bool take(std::string_view& text, char wanted) {
  if (!text.starts_with(wanted)) return false;
  text.remove_prefix(1);
  return true;
}

// Takes FIRST-LAST off the front.
std::optional<std::pair<std::uint64_t, std::uint64_t>> take_range(std::string_view& text) {
  const auto first = take_number(text);
  if (!first || !take(text, '-')) return std::nullopt;
  const auto last = take_number(text);
  if (!last || *last < *first) return std::nullopt;
  return std::pair(*first, *last);
}

}  // namespace

std::optional<ContentRange> parse_content_range(std::string_view text) {
  if (lower_ascii(text.substr(0, kUnit.size())) != kUnit) return std::nullopt;
  text.remove_prefix(kUnit.size());
  if (!take(text, ' ')) return std::nullopt;
  while (take(text, ' ')) {
  }
  const auto range = take_range(text);
  if (!range || !take(text, '/')) return std::nullopt;
  ContentRange parsed{range->first, range->second, {}};
  if (!take(text, '*')) {
    parsed.size = take_number(text);
    if (!parsed.size || parsed.last >= *parsed.size) return std::nullopt;
  }
  while (take(text, ' ')) {
  }
  return text.empty() ? std::optional(parsed) : std::nullopt;
}

std::optional<std::uint64_t> upload_range_end(std::string_view text) {
  if (text.starts_with("bytes=")) text.remove_prefix(6);
  const auto range = take_range(text);
  return range && text.empty() ? std::optional(range->second) : std::nullopt;
}

std::optional<std::uint64_t> header_number(std::string_view text) {
  const auto number = take_number(text);
  return text.empty() ? number : std::nullopt;
}

}  // namespace dadi::registry
