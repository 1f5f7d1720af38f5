#include "libformat/zfile/format.h"

#include <cstring>

#include "libformat/base/bytes.h"
#include "libformat/base/crc32c.h"
#include "libformat/base/endian.h"

namespace dadi::zfile {

namespace {

constexpr std::string_view kMagic{"ZFile\0\1\0tuji.yyf@Alibaba", kMagicSize};
constexpr std::uint32_t kMeaningfulSize = 96;  // of a record: what its size field says

// Offsets of the fields.
constexpr std::size_t kSizeAt = 24;
constexpr std::size_t kDigestAt = 28;
constexpr std::size_t kFlagsAt = 32;
constexpr std::size_t kIndexOffsetAt = 40;
constexpr std::size_t kIndexSizeAt = 48;
constexpr std::size_t kOriginalSizeAt = 56;
constexpr std::size_t kIndexCrcAt = 64;
constexpr std::size_t kBlockSizeAt = 72;
constexpr std::size_t kAlgorithmAt = 76;
constexpr std::size_t kUseDictionaryAt = 78;
constexpr std::size_t kDictionarySizeAt = 84;
constexpr std::size_t kVerifyAt = 88;

// Of the whole record, its digest taken as zero.
std::uint32_t digest_of(std::span<const std::byte> raw) {
  constexpr std::array<std::byte, 4> kNone{};
  return crc32c_raw(raw.subspan(kFlagsAt), crc32c_raw(kNone, crc32c_raw(raw.first(kDigestAt))));
}

}  // namespace

bool has_magic(std::span<const std::byte> data) {
  return data.size() >= kMagicSize && as_text(data.first(kMagicSize)) == kMagic;
}

Result<Record> decode_record(std::span<const std::byte> raw) {
  if (!has_magic(raw)) return Error::corruption("no ZFile magic");
  if (const auto size = load_le<std::uint32_t>(raw, kSizeAt); size != kMeaningfulSize)
    return Error::corruption("record size {}, not {}", size, kMeaningfulSize);
  Record record;
  record.flags = load_le<std::uint64_t>(raw, kFlagsAt);
  record.index_offset = {load_le<std::uint64_t>(raw, kIndexOffsetAt)};
  record.index_size = load_le<std::uint64_t>(raw, kIndexSizeAt);
  record.original_size = {load_le<std::uint64_t>(raw, kOriginalSizeAt)};
  record.index_crc = load_le<std::uint32_t>(raw, kIndexCrcAt);
  record.block_size = load_le<std::uint32_t>(raw, kBlockSizeAt);
  record.algorithm = load_le<std::uint8_t>(raw, kAlgorithmAt);
  record.uses_dictionary =
      load_le<std::uint8_t>(raw, kUseDictionaryAt) != 0 || load_le<std::uint32_t>(raw, kDictionarySizeAt) != 0;
  record.verify = load_le<std::uint8_t>(raw, kVerifyAt);
  record.digest_holds = (record.flags & kHasDigest) != 0 && load_le<std::uint32_t>(raw, kDigestAt) == digest_of(raw);
  return record;
}

std::array<std::byte, kRecordSize> encode_record(const Record& record) {
  std::array<std::byte, kRecordSize> raw{};
  std::memcpy(raw.data(), kMagic.data(), kMagic.size());
  store_le(raw, kSizeAt, kMeaningfulSize);
  store_le(raw, kFlagsAt, record.flags);
  store_le(raw, kIndexOffsetAt, record.index_offset.value);
  store_le(raw, kIndexSizeAt, record.index_size);
  store_le(raw, kOriginalSizeAt, record.original_size.value);
  store_le(raw, kIndexCrcAt, record.index_crc);
  store_le(raw, kBlockSizeAt, record.block_size);
  store_le(raw, kAlgorithmAt, record.algorithm);
  store_le(raw, kVerifyAt, record.verify);
  store_le(raw, kDigestAt, digest_of(raw));
  return raw;
}

}  // namespace dadi::zfile
