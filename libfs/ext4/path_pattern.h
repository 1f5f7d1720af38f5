// Patterns that names of files match, as in lists of files.
#pragma once

#include <cstdint>
#include <string_view>

namespace dadi::fs {

// Whether `text` has a character that stands for others: * ? [
bool is_pattern(std::string_view text);

// Whether a file's name, of no directory, matches: "*" is any bytes, also none and also a first dot, "?" one byte,
// "[a-z]" one of those, "[!a-z]" and "[^a-z]" one of the others; "]" is one of them if it comes first, and "[" that
// nothing closes is itself. There is no other special character: "[*]" is a star. `steps` grows with the work, which is
// at most the product of both lengths and that of the longest brackets.
bool matches_pattern(std::string_view pattern, std::string_view name, std::uint64_t& steps);

}  // namespace dadi::fs
