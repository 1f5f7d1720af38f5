// Traces.
// Input: a trace, its header put right where the first byte says so (bit 0).
// Holds: what is accepted encodes, and decodes to the same bytes of layers; merged with itself, each byte is there
// once.
#include "libformat/trace/trace.h"

#include "libformat/base/crc32c.h"
#include "libformat/base/endian.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dadi;
  using namespace dadi::trace;
  if (size < 1 + kHeaderSize) return 0;
  const auto bytes = std::as_bytes(std::span(data, size)).subspan(1);
  std::vector<std::byte> raw(bytes.begin(), bytes.end());
  if ((data[0] & 1) != 0) {
    store_le<std::uint64_t>(raw, 8, raw.size() - kHeaderSize);
    store_le<std::uint32_t>(raw, 16, crc32c_raw(std::span(raw).subspan(kHeaderSize)));
  }
  const auto reads = decode(raw);
  if (!reads) return 0;
  const auto once = without_repeats(*reads);
  const std::vector<std::vector<Read>> twice{*reads, *reads};
  if (merge(twice, 2) != once) std::abort();
  if (without_repeats(once) != once) std::abort();
  std::uint64_t records = 0;  // huge reads become many records
  for (const Read& read : *reads) records += divide_up(read.size.value, kLongestRead.value);
  if (records > 4096) return 0;
  const auto encoded = encode(*reads);
  if (!encoded) std::abort();
  const auto again = decode(*encoded);
  if (!again || without_repeats(*again) != once) std::abort();
  return 0;
}
