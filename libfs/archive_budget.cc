#include "libfs/archive_budget.h"

namespace dadi::fs {

Result<void> ArchiveBudget::take_entries(std::uint64_t count) {
  if (count > limits_.entries - entries_)
    return Error::exhausted("more than {} entries in the image's layers", limits_.entries)
        .with_hint("if the image is to be trusted, allow more with --max-entries");
  entries_ += count;
  return {};
}

Result<void> ArchiveBudget::take(Bytes size) {
  if (size > limits_.size - size_)
    return Error::exhausted("more than {} bytes in the image's layers, uncompressed", limits_.size.value)
        .with_hint("if the image is to be trusted, allow more with --max-size");
  size_ += size;
  return {};
}

}  // namespace dadi::fs
