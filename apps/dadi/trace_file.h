// Traces as files, for the commands that are given one: recordings of what was read, and lists of files.
#pragma once

#include <string>
#include <vector>

#include "apps/dadi/block_image.h"
#include "libformat/blob/blob_reader.h"
#include "libformat/trace/trace.h"

namespace dadi {

// A file that is a recording if it begins as one, and else a list of files. A value type.
class TraceFile {
 public:
  // Errors: not_found, corruption (a damaged recording), invalid_argument (an empty file), exhausted (larger than any
  // trace), those of reading.
  static Result<TraceFile> load(const std::string& path, const ReadContext& context);

  bool is_list() const { return !list_.empty(); }

  // Its reads of that image, which is opened for a list. Lines of a list that stand for nothing are noted.
  // Errors: those of open_block_image() and trace_of_list().
  Result<std::vector<trace::Read>> reads_of(Session& session, const ImageOptions& image) const;

  // The reads of a recording. Errors: invalid_argument (a list).
  Result<std::vector<trace::Read>> recorded() const;

 private:
  std::string path_;
  std::vector<trace::Read> reads_;
  std::string list_;  // empty: a recording
};

}  // namespace dadi
