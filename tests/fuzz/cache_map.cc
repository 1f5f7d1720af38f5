// The header and the records of a cache's .map file.
// Input: a header, put right where the first byte says so (bit 0), then a record for chunk 0.
// Holds: what is accepted is within bounds and encodes to the same bytes; a record names as many granules as the chunk
// has.
#include "libformat/base/crc32c.h"
#include "libformat/base/endian.h"
#include "runtime/cache/chunk_map.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dadi;
  using namespace dadi::cache;
  if (size < 1 + kHeaderSize) return 0;
  const auto bytes = std::as_bytes(std::span(data, size));
  std::vector<std::byte> header(bytes.begin() + 1, bytes.begin() + 1 + kHeaderSize);
  if ((data[0] & 1) != 0) store_le<std::uint32_t>(header, 56, crc32c_raw(std::span(header).first(56), ~0U));
  const auto geometry = parse_header(header);
  if (!geometry) return 0;
  const auto again = encode_header(*geometry);
  if (!std::equal(again.begin(), again.end(), header.begin())) std::abort();
  if (geometry->chunks() > (std::uint64_t{1} << 24)) std::abort();
  if (geometry->chunks() == 0) return 0;
  std::vector<std::byte> bytes_of_record(bytes.begin() + 1 + kHeaderSize, bytes.end());
  bytes_of_record.resize(geometry->record_size());
  if (const auto record = parse_record(*geometry, 0, bytes_of_record))
    if (record->sums.size() != divide_up(geometry->length(0), kGranule)) std::abort();
  if ((data[0] & 2) == 0) return 0;
  const std::vector<std::byte> chunk(geometry->length(0), std::byte{data[0]});
  const auto written = parse_record(*geometry, 0, encode_record(*geometry, 0, chunk, 5));
  if (!written || !matches(*written, 0, chunk)) std::abort();
  return 0;
}
