#include "libformat/trace/trace.h"

#include <algorithm>
#include <limits>

#include "libformat/base/crc32c.h"
#include "libformat/base/endian.h"

namespace dadi::trace {
namespace {

constexpr std::uint32_t kMagic = 0xC2EF1820;

// Fields of the header; between them and behind is padding.
constexpr std::size_t kDataSizeAt = 8;
constexpr std::size_t kChecksumAt = 16;
// Fields of a record.
constexpr std::size_t kLayerAt = 4;
constexpr std::size_t kCountAt = 8;
constexpr std::size_t kOffsetAt = 16;
constexpr std::byte kReadOperation{'R'};

constexpr std::uint64_t kMostOffset = std::numeric_limits<std::int64_t>::max();  // the field is signed

Result<Read> decode_record(std::span<const std::byte> raw) {
  if (raw[0] != kReadOperation) return Error::corruption("operation {:#04x}, not a read", std::to_integer<int>(raw[0]));
  const Read read{load_le<std::uint32_t>(raw, kLayerAt),
                  {load_le<std::uint64_t>(raw, kOffsetAt)},
                  {load_le<std::uint64_t>(raw, kCountAt)}};
  if (read.offset.value > kMostOffset || read.size.value > kMostOffset - read.offset.value) {
    return Error::corruption("{} bytes at {}", read.size.value, read.offset.value);
  }
  return read;
}

}  // namespace

bool has_magic(std::span<const std::byte> data) {
  return data.size() >= sizeof kMagic && load_le<std::uint32_t>(data, 0) == kMagic;
}

Result<std::vector<Read>> decode(std::span<const std::byte> data) {
  if (data.size() < kHeaderSize || !has_magic(data)) return Error::corruption("not a trace");
  const auto records = data.subspan(kHeaderSize);
  if (load_le<std::uint64_t>(data, kDataSizeAt) != records.size() || records.size() % kReadSize != 0) {
    return Error::corruption("{} bytes of reads are stated, and there are {}",
                             load_le<std::uint64_t>(data, kDataSizeAt), records.size());
  }
  if (records.size() / kReadSize > kMostReads) {
    return Error::exhausted("{} reads, more than {}", records.size() / kReadSize, kMostReads);
  }
  if (crc32c_raw(records) != load_le<std::uint32_t>(data, kChecksumAt)) return Error::corruption("checksum mismatch");
  std::vector<Read> reads;
  reads.reserve(records.size() / kReadSize);
  for (std::size_t at = 0; at < records.size(); at += kReadSize) {
    DADI_TRY(const Read read, decode_record(records.subspan(at, kReadSize)).context("read {}", at / kReadSize));
    reads.push_back(read);
  }
  return reads;
}

Result<std::vector<std::byte>> encode(std::span<const Read> reads) {
  std::vector<std::byte> data(kHeaderSize);
  for (const Read& read : reads) {
    if (read.offset.value > kMostOffset || read.size.value > kMostOffset - read.offset.value) {
      return Error::invalid_argument("a read of {} bytes at {}", read.size.value, read.offset.value);
    }
    for (Bytes at = read.offset; at < read.end(); at += kLongestRead) {
      const std::size_t record = data.size();
      if ((record - kHeaderSize) / kReadSize == kMostReads) return Error::exhausted("more than {} reads", kMostReads);
      data.resize(record + kReadSize);
      const auto raw = std::span(data).subspan(record);
      raw[0] = kReadOperation;
      store_le<std::uint32_t>(raw, kLayerAt, read.layer);
      store_le<std::uint64_t>(raw, kCountAt, std::min(kLongestRead, read.end() - at).value);
      store_le<std::uint64_t>(raw, kOffsetAt, at.value);
    }
  }
  const std::uint32_t checksum = crc32c_raw(std::span(data).subspan(kHeaderSize));
  store_le<std::uint32_t>(data, 0, kMagic);
  store_le<std::uint64_t>(data, kDataSizeAt, data.size() - kHeaderSize);
  store_le<std::uint32_t>(data, kChecksumAt, checksum);
  return data;
}

Bytes total(std::span<const Read> reads) {
  Bytes sum;
  for (const Read& read : reads) sum += read.size;
  return sum;
}

}  // namespace dadi::trace
