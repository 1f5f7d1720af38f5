// The names that kinds of errors have in JSON and between processes: "not_found", "corruption" … Stable.
#pragma once

#include <string_view>

#include "libformat/base/result.h"

namespace dadi {

std::string_view name_of(ErrorCode code);

// The kind with that name; kInternal when there is none.
ErrorCode error_code_named(std::string_view name);

}  // namespace dadi
