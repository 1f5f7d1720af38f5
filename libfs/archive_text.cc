#include "libfs/archive_text.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstddef>

namespace dadi::fs {

namespace {

constexpr std::size_t kLongest = 300;

unsigned byte_at(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]);
}

// The length of the printable UTF-8 character that `text` begins with, or 0. The second byte's range excludes overlong
// forms, surrogates and what lies past U+10FFFF; C2 80 to C2 9F are control characters.
std::size_t printable_character(std::string_view text) {
  const unsigned first = byte_at(text, 0);
  if (first >= 0x20 && first < 0x7f) return 1;
  if (first < 0xc2 || first > 0xf4) return 0;
  const std::size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
  if (text.size() < length) return 0;
  const unsigned low = first == 0xe0 || first == 0xc2 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const unsigned high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  if (byte_at(text, 1) < low || byte_at(text, 1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((byte_at(text, i) & 0xc0U) != 0x80) return 0;
  }
  return length;
}

}  // namespace

std::string in_quotes(std::string_view name) {
  std::string text = "\"";
  std::string_view rest = name.substr(0, kLongest);
  while (!rest.empty()) {
    const std::size_t length = printable_character(rest);
    if (length == 0) {
      text += fmt::format("\\x{:02x}", byte_at(rest, 0));
    } else {
      if (rest[0] == '"' || rest[0] == '\\') text += '\\';
      text += rest.substr(0, length);
    }
    rest.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return text + (name.size() > kLongest ? "\"…" : "\"");
}

}  // namespace dadi::fs
