#include "libformat/lsmt/uuid.h"

#include <algorithm>

namespace dadi::lsmt {

namespace {

constexpr std::size_t kTextSize = 36;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_separator(std::size_t position) {
  return position == 8 || position == 13 || position == 18 || position == 23;
}

}  // namespace

Result<Uuid> Uuid::parse(std::string_view text) {
  const auto malformed = [&] { return Error::invalid_argument("\"{}\" is not a uuid", text.substr(0, kTextSize)); };
  if (text.size() != kTextSize) return malformed();
  Uuid uuid;
  std::size_t digits = 0;
  for (std::size_t i = 0; i < kTextSize; ++i) {
    const int value = hex_value(text[i]);
    if (is_separator(i)) {
      if (text[i] != '-' && value < 0) return malformed();
      continue;
    }
    if (value < 0) return malformed();
    uuid.raw[digits / 2] |= static_cast<std::byte>(digits % 2 == 0 ? value << 4 : value);
    ++digits;
  }
  return uuid;
}

Uuid Uuid::of(const Digest& digest) {
  Uuid uuid;
  std::copy_n(digest.raw().begin(), uuid.raw.size(), uuid.raw.begin());
  return uuid;
}

std::string Uuid::to_string() const {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string text;
  for (const std::byte value : raw) {
    if (is_separator(text.size())) text += '-';
    text += kDigits[std::to_integer<unsigned>(value) >> 4];
    text += kDigits[std::to_integer<unsigned>(value) & 15];
  }
  return text;
}

}  // namespace dadi::lsmt
