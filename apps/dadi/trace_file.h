// Traces as files, for the commands that are given one: recordings of what was read, and lists of files.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apps/dadi/block_image.h"
#include "apps/image/trace_origin.h"
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
  // Which image it was recorded on; none if nobody knows.
  const std::optional<TraceOrigin>& origin() const { return origin_; }

  // Its reads of that image, which is opened for a list, and looked at for a recording that says where it is from: what
  // is of layers that the image does not have is left out. That is noted, as lines of a list are that stand for
  // nothing. Errors: those of open_block_image() and trace_of_list(); invalid_argument (a recording of another image).
  Result<std::vector<trace::Read>> reads_of(Session& session, const ImageOptions& image) const;

  // The reads of a recording. Errors: invalid_argument (a list).
  Result<std::vector<trace::Read>> recorded() const;

 private:
  Result<std::vector<trace::Read>> reads_on(Session& session, const ImageOptions& image) const;

  std::string path_;
  std::vector<trace::Read> reads_;
  std::string list_;  // empty: a recording
  std::optional<TraceOrigin> origin_;
};

// Errors: invalid_argument when `path` or what is written beside it exists and is not a regular file.
Result<void> check_recordable(const std::string& path);

}  // namespace dadi
