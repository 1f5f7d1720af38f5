// Numbers in headers of answers.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace dadi::registry {

// None of these for text that has another form.

// "1234"
std::optional<std::uint64_t> header_number(std::string_view text);
// START of a Content-Range, "bytes START-END/SIZE" or "bytes START-END/*" (RFC 9110 §14.4).
std::optional<std::uint64_t> content_range_start(std::string_view text);
// END of the Range of an upload, "START-END" or "bytes=START-END" (distribution-spec, "Pushing a blob in chunks").
std::optional<std::uint64_t> upload_range_end(std::string_view text);

}  // namespace dadi::registry
