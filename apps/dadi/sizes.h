// Sizes as people write and read them: 64G, 4K, 1.2 GiB.
#pragma once

#include <string>
#include <string_view>

#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi {

// "64G", "4K", "1.5 GiB", "512", "10MB". K, M, G, T with or without iB count in 1024s; kB, MB, GB, TB in 1000s. A
// fraction is fine if it comes to whole bytes.
// Errors: invalid_argument.
Result<Bytes> parse_size(std::string_view text);

// Three digits or so, binary units: "0 B", "1.2 GiB", "64 GiB".
std::string format_size(Bytes size);

// "1 layer", "2 layers".
std::string format_count(std::uint64_t count, std::string_view noun);

}  // namespace dadi
