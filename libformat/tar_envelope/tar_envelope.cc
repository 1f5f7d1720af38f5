#include "libformat/tar_envelope/tar_envelope.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "libformat/base/bytes.h"

namespace dadi::tar_envelope {

namespace {

constexpr std::size_t kBlock = 512;
constexpr int kMaxHeaders = 64;              // in front of the file
constexpr std::uint64_t kMaxPax = 1U << 20;  // bytes of records in one of them

using Block = std::array<std::byte, kBlock>;

struct Field {
  std::size_t offset;
  std::size_t size;
};
constexpr Field kName{0, 100};
constexpr Field kMode{100, 8};
constexpr Field kUid{108, 8};
constexpr Field kGid{116, 8};
constexpr Field kSize{124, 12};
constexpr Field kMtime{136, 12};
constexpr Field kChecksum{148, 8};
constexpr Field kType{156, 1};
constexpr Field kMagic{257, 8};  // and version
constexpr Field kUname{265, 32};
constexpr Field kGname{297, 32};

constexpr std::string_view kUstar{
    "ustar\0"
    "00",
    8};

std::string_view text_of(std::span<const std::byte> block, Field field) {
  return as_text(block.subspan(field.offset, field.size));
}

// Digits of a base up to 10, after spaces, up to a space, a NUL or the end. None: malformed, or too large.
std::optional<std::uint64_t> parse_digits(std::string_view text, unsigned base) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::uint64_t value = 0;
  std::size_t digits = 0;
  for (; digits < text.size() && text[digits] != ' ' && text[digits] != '\0'; ++digits) {
    const unsigned digit = static_cast<unsigned char>(text[digits]) - unsigned{'0'};
    const auto shifted = checked_mul(value, base);
    if (digit >= base || !shifted || !checked_add(*shifted, digit)) return std::nullopt;
    value = *shifted + digit;
  }
  if (digits == 0) return std::nullopt;
  return value;
}

// A number field: octal, or, where the first bit is set, big-endian. An empty one is 0.
std::optional<std::uint64_t> parse_number(std::string_view field) {
  if (field.find_first_not_of(std::string_view(" \0", 2)) == std::string_view::npos) return 0;
  if ((static_cast<unsigned char>(field[0]) & 0x80) == 0) return parse_digits(field, 8);
  std::uint64_t value = static_cast<unsigned char>(field[0]) & 0x7F;
  for (const char c : field.substr(1)) {
    if (value >> 55 != 0) return std::nullopt;
    value = value << 8 | static_cast<unsigned char>(c);
  }
  return value;
}

// The sum over the header with its own field as spaces; some old writers took bytes as signed.
bool checksum_holds(std::span<const std::byte> block) {
  std::int64_t sum = 0;
  std::int64_t signed_sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i) {
    const bool own = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.size;
    const auto value = own ? static_cast<unsigned char>(' ') : std::to_integer<unsigned char>(block[i]);
    sum += value;
    signed_sum += static_cast<signed char>(value);
  }
  const auto expected = parse_number(text_of(block, kChecksum));
  return expected &&
         (*expected == static_cast<std::uint64_t>(sum) || static_cast<std::int64_t>(*expected) == signed_sum);
}

bool is_ustar(std::span<const std::byte> block) {
  const std::string_view magic = text_of(block, kMagic);
  return magic.starts_with("ustar") && magic.substr(6) == "00";
}

// The "size" among pax records: "<length> <key>=<value>\n", the length counting all of it.
Result<std::optional<std::uint64_t>> parse_pax_size(std::string_view records) {
  std::optional<std::uint64_t> size;
  while (!records.empty() && records[0] != '\0') {
    const std::size_t space = records.find(' ');
    const auto length = parse_digits(records.substr(0, space), 10);
    if (space == std::string_view::npos || !length || *length <= space + 1 || *length > records.size() ||
        records[*length - 1] != '\n')
      return Error::corruption("tar: malformed pax record");
    const std::string_view record = records.substr(space + 1, *length - space - 2);
    constexpr std::string_view kKey = "size=";
    if (record.starts_with(kKey)) {
      size = parse_digits(record.substr(kKey.size()), 10);
      if (!size) return Error::corruption("tar: malformed pax size");
    }
    records.remove_prefix(*length);
  }
  return size;
}

Result<void> read_header(const BlobReader& blob, Bytes at, Block& block, const ReadContext& context) {
  if (blob.size() < at + Bytes{kBlock}) return Error::corruption("tar: cut short at {}", at.value);
  DADI_CHECK(blob.read_at(at, block, context));
  if (text_of(block, kMagic).starts_with("xxtar"))
    return Error::corruption("tar: the envelope of an interrupted commit");
  if (!is_ustar(block) || !checksum_holds(block)) return Error::corruption("tar: no sound header at {}", at.value);
  return {};
}

// The body of a header of headers, at most kMaxPax bytes.
Result<std::optional<std::uint64_t>> read_pax_size(const BlobReader& blob, Bytes at, std::uint64_t size,
                                                   const ReadContext& context) {
  if (size > kMaxPax) return Error::corruption("tar: {} bytes of pax records", size);
  DADI_TRY(const auto records, read_range(blob, at, {size}, context).context("tar: pax records"));
  return parse_pax_size(as_text(records));
}

// The archive ends with two blocks of zeros; what is missing there was cut off.
Result<Payload> check_payload(Payload payload, Bytes blob_size) {
  const Bytes room = blob_size - payload.offset;
  if (payload.size > room || tail_size(payload.size) > room - payload.size)
    return Error::corruption("tar: {} bytes at {} and the archive's end reach past the blob's {}", payload.size.value,
                             payload.offset.value, blob_size.value);
  return payload;
}

void put(std::span<std::byte> block, Field field, std::string_view text) {
  std::memcpy(block.data() + field.offset, text.data(), text.size());
}

void put_header(std::span<std::byte> block, std::string_view name, std::uint64_t size, std::string_view type) {
  put(block, kName, name);
  put(block, kSize, fmt::format("{:11o} ", size));
  put(block, kType, type);
  put(block, kMagic, kUstar);
}

void put_checksum(std::span<std::byte> block) {
  put(block, kChecksum, "        ");
  unsigned sum = 0;
  for (const std::byte value : block) sum += std::to_integer<unsigned>(value);
  put(block, kChecksum, fmt::format("{:6o}{}{}", sum, ' ', '\0'));
}

}  // namespace

Result<std::optional<Payload>> find_payload(const BlobReader& blob, const ReadContext& context) {
  Block block{};
  if (blob.size() < Bytes{kBlock}) return std::nullopt;
  DADI_CHECK(blob.read_at({0}, block, context));
  if (!text_of(block, kMagic).starts_with("xxtar") && (!is_ustar(block) || !checksum_holds(block))) return std::nullopt;

  std::optional<std::uint64_t> pax_size;
  Bytes at{0};
  for (int headers = 0; headers < kMaxHeaders; ++headers) {
    DADI_CHECK(read_header(blob, at, block, context));
    const auto size = parse_number(text_of(block, kSize));
    if (!size || *size > blob.size().value) return Error::corruption("tar: malformed size at {}", at.value);
    at += Bytes{kBlock};
    const char type = text_of(block, kType)[0];
    if (type == '0' || type == '\0' || type == '7') {
      const std::uint64_t payload = pax_size && *pax_size > 0 ? *pax_size : *size;
      DADI_TRY(const Payload checked, check_payload({at, {payload}}, blob.size()));
      return checked;
    }
    if (type != 'x' && type != 'g' && type != 'L' && type != 'K')
      return Error::unsupported("tar: its first member is not a file: an ordinary archive, not a block layer");
    if (type == 'x' || type == 'g') {
      DADI_TRY(const auto found, read_pax_size(blob, at, *size, context));
      if (found) pax_size = found;
    }
    at += Bytes{round_up(*size, kBlock)};
  }
  return Error::corruption("tar: more than {} headers in front of a file", kMaxHeaders);
}

std::array<std::byte, kHeadSize.value> head(Bytes payload_size) {
  const std::string body = fmt::format(" size={}\n", payload_size.value);
  std::size_t length = body.size() + 1;
  while (body.size() + std::to_string(length).size() != length) ++length;
  const std::string record = std::to_string(length) + body;

  std::array<std::byte, kHeadSize.value> raw{};
  const auto pax = std::span(raw).first(kBlock);
  put_header(pax, "overlaybd.pax", record.size(), "x");
  put_checksum(pax);
  std::memcpy(raw.data() + kBlock, record.data(), record.size());
  const auto file = std::span(raw).last(kBlock);
  put_header(file, "overlaybd.commit", 0, "0");  // its size is in the pax record
  put(file, kMode, {"100644 \0", 8});
  put(file, kUid, {"     0 \0", 8});
  put(file, kGid, {"     0 \0", 8});
  put(file, kMtime, fmt::format("{:11o} ", 0));
  put(file, kUname, "root");
  put(file, kGname, "root");
  put_checksum(file);
  return raw;
}

Bytes tail_size(Bytes payload_size) {
  const std::uint64_t padding = (kBlock - payload_size.value % kBlock) % kBlock;
  return {padding + 2 * kBlock};
}

}  // namespace dadi::tar_envelope
