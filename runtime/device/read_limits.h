// When a read is not worth going on with.
#pragma once

#include "libformat/blob/blob_reader.h"

namespace dadi::runtime {

// Errors: cancelled (its caller stopped it), unavailable (its deadline is over).
Result<void> still_wanted(const ReadContext& context);

}  // namespace dadi::runtime
