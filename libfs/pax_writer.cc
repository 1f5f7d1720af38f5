#include "libfs/pax_writer.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "libformat/base/bytes.h"

namespace dadi::fs {

namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kNameField = 100;
constexpr std::uint64_t kMostOwner = 07777777;      // what seven digits hold
constexpr std::uint64_t kMostLarge = 077777777777;  // and eleven: of sizes and times

using Header = std::array<char, kBlock>;

// Where the fields of a header are.
enum Field : std::size_t {
  kName = 0,
  kMode = 100,
  kUser = 108,
  kGroup = 116,
  kSize = 124,
  kTime = 136,
  kChecksum = 148,
  kType = 156,
  kLink = 157,
  kMagic = 257,
  kMajor = 329,
  kMinor = 337,
};

void put_text(Header& header, Field at, std::string_view text, std::size_t room) {
  std::copy_n(text.begin(), std::min(text.size(), room), header.begin() + at);
}

void put_number(Header& header, Field at, std::uint64_t value, int digits) {
  const std::string text = fmt::format("{:0{}o}", value, digits);
  put_text(header, at, text, text.size());
}

char type_of(const ArchiveEntry& entry) {
  if (entry.hardlink) return '1';
  switch (entry.attributes.type) {
    case FileType::kSymlink:
      return '2';
    case FileType::kCharacterDevice:
      return '3';
    case FileType::kBlockDevice:
      return '4';
    case FileType::kDirectory:
      return '5';
    case FileType::kFifo:
      return '6';
    default:
      return '0';
  }
}

bool is_plain(std::string_view text) {
  return text.size() <= kNameField && std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// A record states its own length, the digits of that included.
void add_record(std::string& records, std::string_view name, std::string_view value) {
  const std::size_t rest = name.size() + value.size() + 3;  // the space, the equals sign and the line's end
  std::size_t length = rest;
  while (length != rest + std::to_string(length).size()) length = rest + std::to_string(length).size();
  records += fmt::format("{} {}=", length, name);
  records += value;
  records += '\n';
}

std::string time_text(const Timestamp& time) {
  if (time.nanoseconds == 0) return std::to_string(time.seconds);
  if (time.seconds >= 0) return fmt::format("{}.{:09}", time.seconds, time.nanoseconds);
  return fmt::format("-{}.{:09}", -(time.seconds + 1), 1'000'000'000 - time.nanoseconds);
}

// What the header has no room for.
std::string records_of(const ArchiveEntry& entry, const std::string& path, const std::string& link) {
  const Attributes& attributes = entry.attributes;
  std::string records;
  // Names are bytes, in whatever encoding.
  if (!is_ascii(path) || !is_ascii(link)) add_record(records, "hdrcharset", "BINARY");
  if (!is_plain(path)) add_record(records, "path", path);
  if (!is_plain(link)) add_record(records, "linkpath", link);
  if (entry.size.value > kMostLarge) add_record(records, "size", std::to_string(entry.size.value));
  if (attributes.uid > kMostOwner) add_record(records, "uid", std::to_string(attributes.uid));
  if (attributes.gid > kMostOwner) add_record(records, "gid", std::to_string(attributes.gid));
  const Timestamp& time = attributes.mtime;
  if (time.nanoseconds != 0 || time.seconds < 0 || static_cast<std::uint64_t>(time.seconds) > kMostLarge)
    add_record(records, "mtime", time_text(time));
  for (const auto& [name, value] : attributes.xattrs) add_record(records, "SCHILY.xattr." + name, value);
  return records;
}

Header plain_header(std::string_view path, char type, std::uint64_t size) {
  Header header{};
  put_text(header, kName, path, kNameField);
  header[kType] = type;
  put_number(header, kSize, size <= kMostLarge ? size : 0, 11);
  put_text(header, kMagic, std::string_view("ustar\00000", 8), 8);
  return header;
}

void put_attributes(Header& header, const Attributes& attributes) {
  put_number(header, kMode, attributes.permissions, 7);
  put_number(header, kUser, attributes.uid <= kMostOwner ? attributes.uid : 0, 7);
  put_number(header, kGroup, attributes.gid <= kMostOwner ? attributes.gid : 0, 7);
  const auto seconds = static_cast<std::uint64_t>(std::max<std::int64_t>(attributes.mtime.seconds, 0));
  put_number(header, kTime, std::min(seconds, kMostLarge), 11);
  put_number(header, kMajor, attributes.device_major, 7);
  put_number(header, kMinor, attributes.device_minor, 7);
}

std::span<const std::byte> sealed(Header& header) {
  std::fill_n(header.begin() + kChecksum, 8, ' ');
  const unsigned sum = std::accumulate(header.begin(), header.end(), 0U,
                                       [](unsigned so_far, char c) { return so_far + static_cast<unsigned char>(c); });
  put_text(header, kChecksum, fmt::format("{:06o}", sum) + '\0', 7);
  return std::as_bytes(std::span(header));
}

}  // namespace

Result<void> PaxWriter::begin(const ArchiveEntry& entry) {
  const bool directory = !entry.hardlink && entry.attributes.type == FileType::kDirectory;
  const std::string path = directory ? entry.path + "/" : entry.path;
  const std::string link = entry.hardlink.value_or(entry.symlink);
  if (const std::string records = records_of(entry, path, link); !records.empty()) {
    Header extended = plain_header("PaxHeader", 'x', records.size());
    put_attributes(extended, {.permissions = 0644});
    DADI_CHECK(out_.write(sealed(extended)));
    DADI_CHECK(data(as_bytes(records)));
    DADI_CHECK(end());
  }
  Header header = plain_header(path, type_of(entry), entry.size.value);
  put_text(header, kLink, link, kNameField);
  put_attributes(header, entry.attributes);
  return out_.write(sealed(header));
}

Result<void> PaxWriter::data(std::span<const std::byte> piece) {
  size_ += Bytes{piece.size()};
  return out_.write(piece);
}

Result<void> PaxWriter::end() {
  static constexpr std::array<std::byte, kBlock> kZeros{};
  const std::uint64_t tail = size_.value % kBlock;
  size_ = {};
  if (tail == 0) return {};
  return out_.write(std::span(kZeros).first(kBlock - tail));
}

Result<void> PaxWriter::finish() {
  static constexpr std::array<std::byte, 2 * kBlock> kZeros{};
  return out_.write(kZeros);
}

}  // namespace dadi::fs
