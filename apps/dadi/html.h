// Text in HTML pages: names from images and traces are somebody else's, and must stay text.
#pragma once

#include <fmt/core.h>

#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>

namespace dadi {

// `name` as it is shown on a page: printable(), nothing in it markup, neither between tags nor in an attribute in
// quotes.
std::string html_text(std::string_view name);

// The same of at most `most` characters: of a longer one the middle is left out, for the end of a path says most.
// REQUIRES: most >= 3.
std::string html_text(std::string_view name, std::size_t most);

// Adds to a page. What is not the program's own goes through html_text() first.
template <typename... Args>
void append_html(std::string& page, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(page), format, std::forward<Args>(args)...);
}

}  // namespace dadi
