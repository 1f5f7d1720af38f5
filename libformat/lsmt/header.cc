#include "libformat/lsmt/header.h"

#include <cstring>

#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"
#include "libformat/lsmt/segment.h"

namespace dadi::lsmt {

namespace {

constexpr std::array<unsigned char, kMagicSize> kMagic = {'L',  'S',  'M',  'T',  0x00, 0x01, 0x02, 0x00,
                                                          0x65, 0x7E, 0x63, 0xD2, 0x94, 0x44, 0x08, 0x4C,
                                                          0xA2, 0xD2, 0xC8, 0xEC, 0x4F, 0xCF, 0xAE, 0x8A};
constexpr std::uint32_t kMeaningfulSize = 390;  // of a record: what its size field says
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kUuidSize = 37;  // text and a NUL

// Offsets of the fields.
constexpr std::size_t kSizeAt = 24;
constexpr std::size_t kFlagsAt = 28;
constexpr std::size_t kIndexOffsetAt = 32;
constexpr std::size_t kIndexSizeAt = 40;
constexpr std::size_t kVirtualSizeAt = 48;
constexpr std::size_t kUuidAt = 56;
constexpr std::size_t kParentAt = 93;
constexpr std::size_t kVersionAt = 132;
constexpr std::size_t kSubVersionAt = 133;
constexpr std::size_t kUserTagAt = 134;

Result<Uuid> load_uuid(std::span<const std::byte> raw, std::size_t offset) {
  const auto field = raw.subspan(offset, kUuidSize);
  if (all_zero(field)) return Uuid{};  // never written: none
  if (field.back() != std::byte{0}) return Error::corruption("uuid is not terminated");
  auto uuid = Uuid::parse(as_text(field.first(kUuidSize - 1)));
  if (!uuid) return Error::corruption("malformed uuid");
  return uuid;
}

void store_text(std::span<std::byte> raw, std::size_t offset, std::string_view text) {
  std::memcpy(raw.subspan(offset, text.size()).data(), text.data(), text.size());
}

}  // namespace

bool has_magic(std::span<const std::byte> data) {
  return data.size() >= kMagicSize && std::memcmp(data.data(), kMagic.data(), kMagicSize) == 0;
}

Result<Header> decode_header(std::span<const std::byte> raw) {
  if (!has_magic(raw)) return Error::corruption("no LSMT magic");
  if (const auto size = load_le<std::uint32_t>(raw, kSizeAt); size != kMeaningfulSize)
    return Error::corruption("record size {}, not {}", size, kMeaningfulSize);
  const auto version = load_le<std::uint8_t>(raw, kVersionAt);
  const auto sub_version = load_le<std::uint8_t>(raw, kSubVersionAt);
  if (version != kVersion || sub_version != kVersion)
    return Error::unsupported("version {}.{}, not 1.1", version, sub_version);
  Header header;
  header.flags = load_le<std::uint32_t>(raw, kFlagsAt);
  header.index_offset = {load_le<std::uint64_t>(raw, kIndexOffsetAt)};
  header.index_size = load_le<std::uint64_t>(raw, kIndexSizeAt);
  header.info.virtual_size = {load_le<std::uint64_t>(raw, kVirtualSizeAt)};
  if (header.info.virtual_size.value % kSectorSize != 0 || whole_sectors(header.info.virtual_size) > kNowhere)
    return Error::corruption("virtual size {}", header.info.virtual_size.value);
  DADI_TRY(header.info.uuid, load_uuid(raw, kUuidAt));
  DADI_TRY(header.info.parent, load_uuid(raw, kParentAt).context("parent"));
  const std::string_view tag = as_text(raw.subspan(kUserTagAt, kMaxUserTag));
  header.info.user_tag = tag.substr(0, tag.find('\0'));
  return header;
}

Result<void> check_info(const LayerInfo& info) {
  const std::uint64_t size = info.virtual_size.value;
  if (size % kSectorSize != 0 || whole_sectors(info.virtual_size) > kNowhere)
    return Error::invalid_argument("a virtual size of {} bytes", size);
  if (info.user_tag.size() > kMaxUserTag || info.user_tag.find('\0') != std::string::npos)
    return Error::invalid_argument("a user tag of more than {} bytes, or with a NUL", kMaxUserTag);
  return {};
}

std::array<std::byte, kHeaderSize> encode_header(const Header& header) {
  std::array<std::byte, kHeaderSize> raw{};
  std::memcpy(raw.data(), kMagic.data(), kMagic.size());
  store_le(raw, kSizeAt, kMeaningfulSize);
  store_le(raw, kFlagsAt, header.flags);
  store_le(raw, kIndexOffsetAt, header.index_offset.value);
  store_le(raw, kIndexSizeAt, header.index_size);
  store_le(raw, kVirtualSizeAt, header.info.virtual_size.value);
  store_text(raw, kUuidAt, header.info.uuid.to_string());
  store_text(raw, kParentAt, header.info.parent.to_string());
  store_le(raw, kVersionAt, kVersion);
  store_le(raw, kSubVersionAt, kVersion);
  store_text(raw, kUserTagAt, header.info.user_tag);
  return raw;
}

}  // namespace dadi::lsmt
