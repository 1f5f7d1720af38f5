#include "apps/dadi/html.h"

#include <vector>

#include "apps/dadi/printable.h"

namespace dadi {
namespace {

std::string without_markup(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        result += "&amp;";
        break;
      case '<':
        result += "&lt;";
        break;
      case '>':
        result += "&gt;";
        break;
      case '"':
        result += "&quot;";
        break;
      case '\'':
        result += "&#39;";
        break;
      default:
        result += c;
    }
  }
  return result;
}

// Where the characters of valid UTF-8 begin, and its end.
std::vector<std::size_t> character_starts(std::string_view text) {
  std::vector<std::size_t> starts;
  for (std::size_t i = 0; i < text.size(); ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) starts.push_back(i);
  starts.push_back(text.size());
  return starts;
}

}  // namespace

std::string html_text(std::string_view name) {
  return without_markup(printable(name));
}

std::string html_text(std::string_view name, std::size_t most) {
  const std::string text = printable(name);
  const std::vector<std::size_t> starts = character_starts(text);
  const std::size_t length = starts.size() - 1;
  if (length <= most) return without_markup(text);
  const std::size_t head = (most - 1) / 3;
  const std::size_t tail = most - 1 - head;
  return without_markup(text.substr(0, starts[head]) + "…" + text.substr(starts[length - tail]));
}

}  // namespace dadi
