// Names out of archives, made fit for messages.
#pragma once

#include <string>
#include <string_view>

namespace dadi::fs {

// `name` in double quotes. What is not printable text (control characters, bytes that are not UTF-8) is written as
// \xNN, quotes and backslashes with a backslash; of a name over 300 bytes, its beginning. Thread-safe.
std::string in_quotes(std::string_view name);

}  // namespace dadi::fs
