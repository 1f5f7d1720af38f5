#include "libconvert/oci/tar_writer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>
#include <string>

#include "libformat/base/bytes.h"

namespace dadi::oci {

namespace {

constexpr std::size_t kBlock = 512;
constexpr std::array<std::byte, 2 * kBlock> kZeros{};

// Octal as far as it goes, and then the binary form that every reader of today knows.
void put_size(std::span<char> field, std::uint64_t size) {
  if (size >> 33 == 0) {
    const std::string octal = fmt::format("{:011o}", size);
    std::ranges::copy(octal, field.begin());
    return;
  }
  field[0] = static_cast<char>(0x80);
  for (std::size_t i = 0; i < 8; ++i) field[11 - i] = static_cast<char>(size >> (8 * i));
}

}  // namespace

std::array<std::byte, kBlock> TarWriter::header(std::string_view name, Bytes size, char type, unsigned mode) {
  std::array<char, kBlock> text{};
  const auto put = [&](std::size_t offset, std::string_view value) {
    std::memcpy(text.data() + offset, value.data(), value.size());
  };
  put(0, name.substr(0, 100));
  put(100, fmt::format("{:07o}", mode));
  put(108, "0000000");
  put(116, "0000000");
  put_size(std::span(text).subspan(124, 12), size.value);
  put(136, "00000000000");
  put(148, "        ");  // the checksum counts itself as spaces
  text[156] = type;
  put(257, std::string_view("ustar\00000", 8));
  unsigned sum = 0;
  for (const char c : text) sum += static_cast<unsigned char>(c);
  put(148, fmt::format("{:06o}", sum));
  text[154] = '\0';
  return std::bit_cast<std::array<std::byte, kBlock>>(text);
}

Result<void> TarWriter::pad(Bytes size) {
  return sink_.write(std::span(kZeros).first(round_up(size.value, kBlock) - size.value));
}

Result<void> TarWriter::folder(std::string_view name) {
  return sink_.write(header(name, {0}, '5', 0755));
}

Result<void> TarWriter::file(std::string_view name, Bytes size, ByteSource& content) {
  DADI_CHECK(sink_.write(header(name, size, '0', 0644)));
  Bytes written;
  for (;;) {
    DADI_TRY(const auto piece, content.next());
    if (piece.empty()) break;
    DADI_CHECK(sink_.write(piece));
    written += Bytes{piece.size()};
  }
  if (written != size) return Error::internal("{} has {} bytes, not {}", name, written.value, size.value);
  return pad(size);
}

Result<void> TarWriter::text(std::string_view name, std::string_view content) {
  DADI_CHECK(sink_.write(header(name, {content.size()}, '0', 0644)));
  DADI_CHECK(sink_.write(as_bytes(content)));
  return pad({content.size()});
}

Result<void> TarWriter::finish() {
  return sink_.write(kZeros);
}

}  // namespace dadi::oci
