// Numbers in headers of answers.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace dadi::registry {

// A Content-Range (RFC 9110 §14.4): of an answer with a part of something.
struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;             // it too
  std::optional<std::uint64_t> size;  // of the whole; none: the answer does not say ("*")

  friend bool operator==(const ContentRange&, const ContentRange&) = default;
};

// None of these for text that has another form, for numbers that make no sense (last < first, last >= size), and for
// such of more than 18 digits, so that sums of two are numbers too.

// "bytes FIRST-LAST/SIZE" or "bytes FIRST-LAST/*".
std::optional<ContentRange> parse_content_range(std::string_view text);
// LAST of the Range of an upload, "FIRST-LAST" or "bytes=FIRST-LAST" (distribution-spec, "Pushing a blob in chunks").
std::optional<std::uint64_t> upload_range_end(std::string_view text);
// "1234"
std::optional<std::uint64_t> header_number(std::string_view text);

}  // namespace dadi::registry
