// Text from images, made safe to show: file names, annotations and error messages carry bytes that somebody else chose.
#pragma once

#include <string>
#include <string_view>

namespace dadi {

// `text` with everything that a terminal might obey or hide escaped: control characters (\n, \x1b), bytes that are not
// UTF-8 (\xff), C1 and bidirectional controls and invisible characters (\u202e). Everything else stays as it is.
std::string printable(std::string_view text);

// Whether `text` is UTF-8 throughout, as JSON strings must be.
bool is_utf8(std::string_view text);

// `text` as valid UTF-8, for JSON: bytes that are not become U+FFFD.
std::string as_utf8(std::string_view text);

}  // namespace dadi
