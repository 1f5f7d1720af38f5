// The charts of a trace's page, as HTML: time, which is what was read so far, to the right, places downwards. Of
// bounded size. `once`: each byte once, as trace::without_repeats() gives it.
#pragma once

#include <string>
#include <vector>

#include "apps/dadi/trace_colors.h"
#include "apps/dadi/trace_sums.h"
#include "apps/dadi/traced_files.h"

namespace dadi {

// A row a file, in the order in which they were first read; files that little is read of share the last.
std::string chart_by_file(const TracedFiles& traced, const std::vector<FileReads>& files,
                          const std::vector<trace::Read>& once, const TraceColors& colors);

// By the place on the device.
std::string chart_by_device(const TracedFiles& traced, const std::vector<trace::Read>& once, const TraceColors& colors);

// By the place in the layers' files.
std::string chart_by_layer(const std::vector<trace::Read>& once, const TraceColors& colors);

}  // namespace dadi
