#include "apps/dadi/trace_file.h"

#include "apps/dadi/sizes.h"
#include "libformat/blob/file_blob.h"

namespace dadi {

Result<std::vector<trace::Read>> load_trace_file(const std::string& path, const ReadContext& context) {
  DADI_TRY(const auto file, FileBlob::open(path));
  if (file->size().value > trace::kHeaderSize + trace::kMostReads * trace::kReadSize) {
    return Error::exhausted("{} has {}, more than any trace", path, format_size(file->size()));
  }
  DADI_TRY(const auto data, read_range(*file, {0}, file->size(), context));
  return trace::decode(data).context("{}", path);
}

}  // namespace dadi
