#include "libformat/blob/memory_blob.h"

#include <cstring>

namespace dadi {

namespace {

Result<void> require_within(Bytes offset, std::size_t length, Bytes size) {
  if (offset > size || length > (size - offset).value)
    return Error::corruption("{} bytes at offset {} reach past the end, {}", length, offset.value, size.value);
  return {};
}

}  // namespace

Result<std::vector<std::byte>> read_range(const BlobReader& blob, Bytes offset, Bytes size,
                                          const ReadContext& context) {
  DADI_CHECK(require_within(offset, size.value, blob.size()));
  std::vector<std::byte> data(size.value);
  DADI_CHECK(blob.read_at(offset, data, context));
  return data;
}

Result<void> MemoryBlob::read_at(Bytes offset, std::span<std::byte> out, const ReadContext&) const {
  DADI_CHECK(require_within(offset, out.size(), size()));
  if (!out.empty()) std::memcpy(out.data(), data_.data() + offset.value, out.size());
  return {};
}

Result<void> BlobWindow::read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const {
  DADI_CHECK(require_within(offset, out.size(), size_));
  return blob_->read_at(start_ + offset, out, context);
}

Result<void> LaidOverBlob::read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const {
  DADI_CHECK(require_within(offset, out.size(), size()));
  const Bytes end = offset + Bytes{out.size()};
  // What lies before the bytes, of them, and behind.
  const Bytes first = std::clamp(start_, offset, end);
  const Bytes last = std::clamp(start_ + Bytes{bytes_.size()}, offset, end);
  if (first > offset) DADI_CHECK(blob_->read_at(offset, out.first((first - offset).value), context));
  if (last > first) std::memcpy(&out[(first - offset).value], &bytes_[(first - start_).value], (last - first).value);
  if (end > last) DADI_CHECK(blob_->read_at(last, out.subspan((last - offset).value), context));
  return {};
}

}  // namespace dadi
