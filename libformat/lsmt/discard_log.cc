#include "libformat/lsmt/discard_log.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "libformat/base/endian.h"
#include "libformat/lsmt/record_log.h"

namespace dadi::lsmt {

namespace {

constexpr std::array<char, 8> kLogMagic = {'D', 'A', 'D', 'I', '\0', 'D', 'S', 'C'};
constexpr std::uint32_t kLogVersion = 1;
constexpr std::size_t kLogVersionAt = 8;
constexpr std::size_t kLayerUuidAt = 16;

}  // namespace

std::vector<std::byte> discard_log_header(const LayerInfo& info) {
  std::vector<std::byte> raw(RecordLog::kRecordsAt);
  std::memcpy(raw.data(), kLogMagic.data(), kLogMagic.size());
  store_le(std::span(raw), kLogVersionAt, kLogVersion);
  std::ranges::copy(info.uuid.raw, raw.begin() + kLayerUuidAt);
  return raw;
}

Result<bool> is_discard_log(const BlobReader& file, const LayerInfo& info) {
  const auto header = discard_log_header(info);
  if (file.size() < Bytes{header.size()}) return false;
  DADI_TRY(const auto raw, read_range(file, {0}, {header.size()}));
  return raw == header;
}

}  // namespace dadi::lsmt
