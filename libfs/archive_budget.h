// What the archives of one image may take together. An archive of some kilobytes can unfold to petabytes, or to entries
// without end; who reads it must be able to stop.
#pragma once

#include <cstdint>

#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi::fs {

struct ArchiveLimits {
  std::uint64_t entries = 4'000'000;
  Bytes size{~std::uint64_t{0}};  // of the archives, uncompressed: headers, content, and what follows their ends
};

// One thread at a time; for all layers of an image, one after the other.
class ArchiveBudget {
 public:
  explicit ArchiveBudget(ArchiveLimits limits) : limits_(limits) {}

  // So many more entries or bytes were read. Errors: exhausted, with a hint.
  Result<void> take_entries(std::uint64_t count);
  Result<void> take(Bytes size);

  Bytes size() const { return size_; }  // what was taken

 private:
  ArchiveLimits limits_;
  std::uint64_t entries_ = 0;
  Bytes size_;
};

}  // namespace dadi::fs
