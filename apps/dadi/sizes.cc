#include "apps/dadi/sizes.h"

#include <array>
#include <cctype>
#include <optional>

namespace dadi {
namespace {

constexpr std::string_view kUnits = "KMGT";

// The factor of a unit as written, or none: "" "B" "K" "KiB" "kB" "KB" …
std::optional<std::uint64_t> factor_of(std::string_view unit) {
  if (unit.empty() || unit == "B" || unit == "b") return 1;
  const std::size_t power = kUnits.find(static_cast<char>(std::toupper(static_cast<unsigned char>(unit[0]))));
  if (power == std::string_view::npos) return std::nullopt;
  const std::string_view rest = unit.substr(1);
  const bool binary = rest.empty() || rest == "iB" || rest == "ib";
  if (!binary && rest != "B" && rest != "b") return std::nullopt;
  std::uint64_t factor = 1;
  for (std::size_t i = 0; i <= power; ++i) factor *= binary ? 1024 : 1000;
  return factor;
}

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

}  // namespace

Result<Bytes> parse_size(std::string_view text) {
  const auto malformed = [&] {
    return Error::invalid_argument("\"{}\" is not a size", text).with_hint("write sizes like 64G, 4K, 1.5GiB or 512");
  };
  // The digits without their point, and how many stood behind it: 1.5 is 15 with one decimal.
  std::uint64_t digits = 0, decimals = 1;
  std::size_t at = 0;
  bool point = false, any = false;
  for (; at < text.size() && (is_digit(text[at]) || (text[at] == '.' && !point)); ++at) {
    if (text[at] == '.') {
      point = true;
      continue;
    }
    const auto shifted = checked_mul(digits, 10);
    const auto next = shifted ? checked_add(*shifted, static_cast<std::uint64_t>(text[at] - '0')) : std::nullopt;
    if (!next || (point && decimals > 100'000'000)) return malformed();
    digits = *next;
    if (point) decimals *= 10;
    any = true;
  }
  while (at < text.size() && text[at] == ' ') ++at;
  const auto factor = factor_of(text.substr(at));
  if (!any || !factor) return malformed();
  const auto scaled = checked_mul(digits, *factor);
  if (!scaled || *scaled % decimals != 0) return malformed();
  return Bytes{*scaled / decimals};
}

std::string format_size(Bytes size) {
  if (size.value < 1024) return fmt::format("{} B", size.value);
  constexpr std::string_view kLarger = "KMGTPE";
  double scaled = static_cast<double>(size.value) / 1024;
  std::size_t power = 0;
  while (scaled >= 1023.95 && power + 1 < kLarger.size()) {
    scaled /= 1024;
    ++power;
  }
  std::string number = fmt::format("{:.1f}", scaled);
  if (number.ends_with(".0")) number.resize(number.size() - 2);
  return fmt::format("{} {}iB", number, kLarger[power]);
}

std::string format_count(std::uint64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

}  // namespace dadi
