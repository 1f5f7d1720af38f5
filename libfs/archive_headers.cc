#include "libfs/archive_headers.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string>

#include "libformat/base/bytes.h"
#include "libfs/archive_text.h"

namespace dadi::fs {

namespace {

// A header block's fields.
struct Field {
  std::size_t at;
  std::size_t size;
};
constexpr Field kName{0, 100};
constexpr Field kMode{100, 8};
constexpr Field kSize{124, 12};
constexpr Field kChecksum{148, 8};
constexpr std::size_t kType = 156;
constexpr Field kMagic{257, 5};

constexpr std::uint64_t kLargestSpecial = std::uint64_t{1} << 20;  // libarchive's limit on an extended header's body

std::string_view field(std::span<const std::byte> block, Field field) {
  return as_text(block).substr(field.at, field.size);
}

std::string_view until_nul(std::string_view text) {
  return text.substr(0, text.find('\0'));
}

// The value of a number field: octal digits after blanks, or base-256 (the first byte's top bit is set). Saturates.
std::uint64_t number(std::string_view text) {
  constexpr std::uint64_t kMost = ~std::uint64_t{0};
  std::uint64_t value = 0;
  if ((static_cast<unsigned char>(text[0]) & 0x80U) != 0) {
    value = static_cast<unsigned char>(text[0]) & 0x7fU;
    for (const char c : text.substr(1)) {
      if (value >> 56 != 0) return kMost;
      value = (value << 8) | static_cast<unsigned char>(c);
    }
    return value;
  }
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  for (const char c : text) {
    if (c < '0' || c > '7') break;
    value = (value << 3) | static_cast<std::uint64_t>(c - '0');  // 12 digits at most: no overflow
  }
  return value;
}

bool all_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

bool is_number(std::string_view text) {
  return all_digits(text.starts_with('-') ? text.substr(1) : text);
}

// What a record of ours must hold, whatever libarchive would make of it.
Result<void> check_record(std::string_view key, std::string_view value) {
  constexpr std::array<std::string_view, 3> kNames{"path", "linkpath", "GNU.sparse.name"};
  constexpr std::array<std::string_view, 5> kNumbers{"uid", "gid", "size", "GNU.sparse.size", "GNU.sparse.realsize"};
  if (std::ranges::find(kNames, key) != kNames.end() && value.find('\0') != std::string_view::npos)
    return Error::corruption("a NUL in the {} {}", key, in_quotes(value));
  // An empty value should stand for the header's field; libarchive takes it for 0.
  if (std::ranges::find(kNumbers, key) != kNumbers.end() && !is_number(value))
    return Error::corruption("the {} {} is not a number", key, in_quotes(value));
  if (key == "mtime") DADI_CHECK(parse_pax_time(value));
  return {};
}

}  // namespace

Result<void> PaxRecords::add(std::string_view body) {
  while (!body.empty()) {
    // "<length> <key>=<value>\n": the length is that of the whole record.
    std::size_t length = 0;
    const auto [end, error] = std::from_chars(body.data(), body.data() + body.size(), length);
    const auto digits = static_cast<std::size_t>(end - body.data());
    if (error != std::errc() || length > body.size() || length < digits + 2 || body[digits] != ' ' ||
        body[length - 1] != '\n')
      return Error::corruption("a malformed pax record, {}", in_quotes(body.substr(0, 60)));
    const std::string_view record = body.substr(digits + 1, length - digits - 2);
    const std::size_t equals = record.find('=');
    if (equals == 0 || equals == std::string_view::npos)
      return Error::corruption("a pax record without a key, {}", in_quotes(record.substr(0, 60)));
    DADI_CHECK(check_record(record.substr(0, equals), record.substr(equals + 1)));
    records_.emplace_back(record.substr(0, equals), record.substr(equals + 1));
    body.remove_prefix(length);
  }
  return {};
}

std::optional<std::string_view> PaxRecords::find(std::string_view key) const {
  for (auto record = records_.rbegin(); record != records_.rend(); ++record) {
    if (record->first == key) return record->second.empty() ? std::nullopt : std::optional(record->second);
  }
  return std::nullopt;
}

bool PaxRecords::has_prefix(std::string_view prefix) const {
  return std::ranges::any_of(records_, [&](const auto& record) { return record.first.starts_with(prefix); });
}

Result<Timestamp> parse_pax_time(std::string_view text) {
  const bool negative = text.starts_with('-');
  const std::string_view digits = negative ? text.substr(1) : text;
  const std::string_view whole = digits.substr(0, digits.find('.'));
  const std::string_view fraction = digits.substr(std::min(whole.size() + 1, digits.size()));
  std::int64_t seconds = 0;
  if (!all_digits(whole) || (!fraction.empty() && !all_digits(fraction)) ||
      std::from_chars(whole.data(), whole.data() + whole.size(), seconds).ec != std::errc())
    return Error::corruption("the time {} is not a number", in_quotes(text));
  std::uint32_t nanoseconds = 0;
  for (std::size_t i = 0; i < 9; ++i) {
    nanoseconds = nanoseconds * 10 + (i < fraction.size() ? static_cast<std::uint32_t>(fraction[i] - '0') : 0);
  }
  if (!negative) return Timestamp{seconds, nanoseconds};
  if (nanoseconds == 0) return Timestamp{-seconds, 0};
  return Timestamp{-seconds - 1, 1'000'000'000 - nanoseconds};
}

Result<EntryHeaders> parse_entry_headers(std::span<const std::byte> blocks) {
  constexpr std::string_view kWithBody = "xXgLKA";
  EntryHeaders headers;
  for (std::size_t at = 0; blocks.size() - at >= kTarBlock;) {
    const auto block = blocks.subspan(at, kTarBlock);
    headers.type = static_cast<char>(block[kType]);
    at += kTarBlock;
    if (headers.type == 'V') continue;  // a volume's label has no body
    if (kWithBody.find(headers.type) == std::string_view::npos) {
      headers.name = until_nul(field(block, kName));
      headers.permissions = static_cast<std::uint16_t>(number(field(block, kMode)) & 07777U);
      return headers;
    }
    const std::uint64_t size = number(field(block, kSize));
    if (size > kLargestSpecial || round_up(size, kTarBlock) > blocks.size() - at)
      return Error::corruption("an extended header of {} bytes", size);
    if (headers.type == 'x' || headers.type == 'X') DADI_CHECK(headers.pax.add(as_text(blocks.subspan(at, size))));
    at += round_up(size, kTarBlock);
  }
  return Error::corruption("extended headers without an entry");
}

bool is_entry_header(std::span<const std::byte> block) {
  if (field(block, kMagic) != "ustar") return false;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kTarBlock; ++i) {
    const bool blank = i >= kChecksum.at && i < kChecksum.at + kChecksum.size;
    sum += blank ? std::uint64_t{' '} : std::to_integer<std::uint64_t>(block[i]);
  }
  return number(field(block, kChecksum)) == sum;
}

}  // namespace dadi::fs
