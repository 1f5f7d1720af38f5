// Lists of files as traces of an image.
#pragma once

#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "apps/image/block_image.h"
#include "libformat/trace/trace.h"

namespace dadi {

struct ListedTrace {
  std::vector<trace::Read> reads;     // each byte once, in the order of the list
  std::uint64_t missing = 0;          // lines that stand for nothing
  std::vector<std::string> examples;  // the first of those
};

// What a start reads that reads the files of a list, and nothing else: what fs::find_listed_files() finds, in the
// layers of the image. The same image and list give the same reads. Errors: those of stack() and find_listed_files();
// not_found (nothing of the list is in the image).
Result<ListedTrace> trace_of_list(std::vector<BlockLayer> layers, std::string_view list, const std::stop_token& stop);

}  // namespace dadi
