#include "libconvert/registry/range_headers.h"

#include <utility>

namespace dadi::registry {

namespace {

// Takes a number off the front; it has at most 18 digits, so that sums of two are numbers too.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t number = 0;
  std::size_t digits = 0;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    if (digits == 18) return std::nullopt;
    number = number * 10 + static_cast<std::uint64_t>(text[digits] - '0');
  }
  text.remove_prefix(digits);
  return digits == 0 ? std::nullopt : std::optional(number);
}

// Takes START-END off the front.
std::optional<std::pair<std::uint64_t, std::uint64_t>> take_range(std::string_view& text) {
  const auto start = take_number(text);
  if (!start || !text.starts_with('-')) return std::nullopt;
  text.remove_prefix(1);
  const auto end = take_number(text);
  if (!end || *end < *start) return std::nullopt;
  return std::pair(*start, *end);
}

}  // namespace

std::optional<std::uint64_t> header_number(std::string_view text) {
  const auto number = take_number(text);
  return text.empty() ? number : std::nullopt;
}

std::optional<std::uint64_t> content_range_start(std::string_view text) {
  if (!text.starts_with("bytes ")) return std::nullopt;
  text.remove_prefix(6);
  const auto range = take_range(text);
  if (!range || !text.starts_with('/')) return std::nullopt;
  text.remove_prefix(1);
  if (text != "*") {
    const auto size = header_number(text);
    if (!size || range->second >= *size) return std::nullopt;
  }
  return range->first;
}

std::optional<std::uint64_t> upload_range_end(std::string_view text) {
  if (text.starts_with("bytes=")) text.remove_prefix(6);
  const auto range = take_range(text);
  return range && text.empty() ? std::optional(range->second) : std::nullopt;
}

}  // namespace dadi::registry
