// A trace as a page to look at: what was read when, by file, on the device, and by layer.
#pragma once

#include <string>
#include <vector>

#include "apps/dadi/traced_files.h"
#include "libformat/trace/trace.h"

namespace dadi {

struct TracePage {
  std::string trace;  // what it is called
  std::string image;  // and what it is of; empty: not known
  const std::vector<trace::Read>& reads;
  const TracedFiles* files = nullptr;  // of that image; null: not known
};

// An HTML page that needs nothing else: no script, and nothing from elsewhere, which its policy forbids. At most some
// megabytes, whatever the trace and the names in the image are. Time: twice that of visiting each byte of the trace
// once.
std::string trace_page(const TracePage& page);

}  // namespace dadi
