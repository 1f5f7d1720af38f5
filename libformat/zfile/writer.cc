#include "libformat/zfile/writer.h"

#include <algorithm>

#include "libformat/base/crc32c.h"
#include "libformat/base/endian.h"

namespace dadi::zfile {

Result<void> Writer::check_block(std::size_t stored, std::uint64_t raw_size) const {
  if (raw_size == 0 || raw_size > options_.block_size || raw_size_.value % options_.block_size != 0)
    return Error::invalid_argument("a ZFile block of {} bytes after {} bytes in blocks of {}", raw_size,
                                   raw_size_.value, options_.block_size);
  if (stored <= kChecksumSize || stored > max_compressed_size(options_.algorithm, raw_size) + kChecksumSize)
    return Error::invalid_argument("{} bytes stored of a ZFile block of {}", stored, raw_size);
  return {};
}

Result<void> Writer::add(std::span<const std::byte> stored, std::size_t raw_size) {
  const auto length = static_cast<std::uint32_t>(stored.size());
  return add(stored, std::span(&length, 1), Bytes{raw_size});
}

Result<void> Writer::add(std::span<const std::byte> stored, std::span<const std::uint32_t> lengths, Bytes raw_size) {
  Bytes left = raw_size;
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < lengths.size(); ++i) {
    const bool last = i + 1 == lengths.size();
    const Bytes raw = last ? left : std::min(left, Bytes{options_.block_size});
    DADI_CHECK(check_block(lengths[i], raw.value));
    raw_size_ += raw;
    left -= raw;
    total += lengths[i];
  }
  if (total != stored.size() || left.value != 0)
    return Error::invalid_argument("{} bytes stored for ZFile blocks of {}", stored.size(), total);
  DADI_CHECK(out_.write(stored));
  lengths_.insert(lengths_.end(), lengths.begin(), lengths.end());
  position_ += Bytes{stored.size()};
  return {};
}

Result<Writer::Finished> Writer::finish() {
  Record record;
  record.index_offset = position_;
  record.index_size = lengths_.size();
  record.original_size = raw_size_;
  record.block_size = options_.block_size;
  record.algorithm = static_cast<std::uint8_t>(options_.algorithm);
  record.verify = 1;

  constexpr std::size_t kEntry = sizeof(std::uint32_t);
  constexpr std::size_t kEntriesAtOnce = 65536;
  std::vector<std::byte> table;
  for (std::span<const std::uint32_t> rest = lengths_; !rest.empty();) {
    const auto part = rest.first(std::min(rest.size(), kEntriesAtOnce));
    table.resize(part.size() * kEntry);
    for (std::size_t i = 0; i < part.size(); ++i) store_le(std::span(table), i * kEntry, part[i]);
    record.index_crc = crc32c_raw(table, record.index_crc);
    DADI_CHECK(out_.write(table));
    rest = rest.subspan(part.size());
  }
  record.flags = kTrailerFlags;
  DADI_CHECK(out_.write(encode_record(record)));
  record.flags = kHeaderFlags;
  return Finished{encode_record(record), position_ + Bytes{lengths_.size() * kEntry + kRecordSize}};
}

}  // namespace dadi::zfile
