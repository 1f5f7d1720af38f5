// Content-Range, as RFC 9110 §14.4 writes it.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace dadi::registry {

// Of an answer with a part of something.
struct ContentRange {
  std::uint64_t first = 0;
  std::uint64_t last = 0;             // it too
  std::optional<std::uint64_t> size;  // of the whole; none: the answer does not say ("*")

  friend bool operator==(const ContentRange&, const ContentRange&) = default;
};

// Of "bytes FIRST-LAST/SIZE" or "bytes FIRST-LAST/*". None: of another form, of another unit, or numbers that make no
// sense: last < first, last >= size, over 2^63.
std::optional<ContentRange> parse_content_range(std::string_view header);

}  // namespace dadi::registry
