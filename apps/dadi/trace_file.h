// Traces as files, for the commands that are given one.
#pragma once

#include <string>
#include <vector>

#include "libformat/blob/blob_reader.h"
#include "libformat/trace/trace.h"

namespace dadi {

// Errors: not_found, corruption (no trace), exhausted (larger than any trace), those of reading.
Result<std::vector<trace::Read>> load_trace_file(const std::string& path, const ReadContext& context);

}  // namespace dadi
