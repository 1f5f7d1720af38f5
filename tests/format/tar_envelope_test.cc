#include "libformat/tar_envelope/tar_envelope.h"

#include <algorithm>

#include "libformat/base/bytes.h"
#include "tests/format/test_support.h"

namespace dadi::tar_envelope {
namespace {

using test::blob_of;
using test::Data;
using test::expect_error;
using test::must;

constexpr std::size_t kBlock = 512;

void put(Data& data, std::size_t at, std::string_view text) {
  std::ranges::copy(as_bytes(text), data.begin() + static_cast<std::ptrdiff_t>(at));
}

void fix_checksum(Data& data, std::size_t at) {
  put(data, at + 148, "        ");
  unsigned sum = 0;
  for (std::size_t i = 0; i < kBlock; ++i) sum += std::to_integer<unsigned>(data[at + i]);
  put(data, at + 148, fmt::format("{:06o}", sum) + '\0');
}

// One header, as most tools write it; its body follows, padded.
Data member(char type, std::string_view name, std::string_view size, std::string_view body) {
  Data data(kBlock + round_up(body.size(), kBlock));
  put(data, 0, name);
  put(data, 124, size);
  data[156] = static_cast<std::byte>(type);
  put(data, 257,
      std::string_view("ustar\0"
                       "00",
                       8));
  put(data, kBlock, body);
  fix_checksum(data, 0);
  return data;
}
Data member(char type, std::string_view name, std::string_view body) {
  return member(type, name, fmt::format("{:011o}", body.size()), body);
}

Data joined(const std::vector<Data>& parts) {
  Data all;
  for (const Data& part : parts) all.insert(all.end(), part.begin(), part.end());
  all.resize(all.size() + 2 * kBlock);
  return all;
}

std::optional<Payload> found(const Data& data) {
  return must(find_payload(*blob_of(data)));
}

TEST(TarEnvelope, FindsThePayloadOfItsOwnHeadAtEverySize) {
  for (const std::size_t size : {0U, 1U, 511U, 512U, 513U, 4096U, 99999U, 100000U}) {
    const Data blob = test::make_envelope(Data(size, std::byte{7}));
    EXPECT_EQ(blob.size() % kBlock, 0U);
    EXPECT_EQ(found(blob), (Payload{kHeadSize, {size}}));
  }
}

TEST(TarEnvelope, CountsThePaxRecordsLengthInItself) {
  const auto record = [](std::uint64_t size) {
    const auto raw = head({size});
    return std::string(as_text(std::span(raw).subspan(kBlock, kBlock)).data());  // up to its NUL
  };
  EXPECT_EQ(record(0), "9 size=0\n");
  EXPECT_EQ(record(10), "11 size=10\n");  // its own digits became more
  EXPECT_EQ(record(12345678901), "20 size=12345678901\n");
}

TEST(TarEnvelope, TakesAPlainFileAsGoWritesIt) {
  const Data blob = joined({member('0', "overlaybd.commit", std::string(700, 'x'))});
  EXPECT_EQ(found(blob), (Payload{{kBlock}, {700}}));
}

TEST(TarEnvelope, SkipsLongNamesAndGlobalHeadersByTheirRealLength) {
  const std::string comment = std::string("800 comment=") + std::string(787, 'c') + "\n";  // pax of more than one block
  const Data blob =
      joined({member('g', "global", comment), member('L', "././@LongLink", std::string(600, 'n')),
              member('x', "pax", "13 size=1000\n"), member('0', "file", "00000000000", std::string(1000, 'x'))});
  EXPECT_EQ(found(blob), (Payload{{kBlock * 3 + kBlock * 3 + kBlock * 2 + kBlock}, {1000}}));
}

TEST(TarEnvelope, ReadsSizesInBase256) {
  std::string size("\x80\0\0\0\0\0\0\0\0\0\0\x05", 12);
  EXPECT_EQ(found(joined({member('0', "file", size, "12345")})), (Payload{{kBlock}, {5}}));
}

TEST(TarEnvelope, TakesWhatIsNoPosixTarForNone) {
  EXPECT_EQ(found(Data(100)), std::nullopt);
  EXPECT_EQ(found(Data(4096)), std::nullopt);
  Data gnu = joined({member('0', "file", "x")});
  put(gnu, 257, std::string_view("ustar  \0", 8));
  fix_checksum(gnu, 0);
  EXPECT_EQ(found(gnu), std::nullopt);
  Data damaged = joined({member('0', "file", "x")});
  damaged[0] ^= std::byte{1};
  EXPECT_EQ(found(damaged), std::nullopt);
}

TEST(TarEnvelope, RefusesAnInterruptedCommit) {
  Data blob = test::make_envelope(Data(1000));
  put(blob, 1024, std::string_view("overlaybd.new\0\0\0", 16));
  put(blob, 1024 + 257, "xxtar");
  fix_checksum(blob, 1024);
  expect_error(find_payload(*blob_of(blob)), ErrorCode::kCorruption, "interrupted commit");
  put(blob, 257, "xxtar");
  expect_error(find_payload(*blob_of(blob)), ErrorCode::kCorruption, "interrupted commit");
}

TEST(TarEnvelope, RefusesAnArchiveThatIsCutShort) {
  const Data whole = test::make_envelope(Data(700));
  for (const std::size_t size : {513UL, 1024UL, 1535UL, 1536UL, 2000UL, 2236UL, 2559UL, whole.size() - 1}) {
    Data cut = whole;
    cut.resize(size);
    EXPECT_FALSE(find_payload(*blob_of(cut)).has_value()) << size;
  }
}

TEST(TarEnvelope, RefusesSizesThatLie) {
  expect_error(find_payload(*blob_of(joined({member('0', "f", "77777777777", "x")}))), ErrorCode::kCorruption, "size");
  expect_error(
      find_payload(*blob_of(joined({member('x', "p", "30 size=18446744073709551615\n"), member('0', "f", "x")}))),
      ErrorCode::kCorruption, "pax record");
  expect_error(
      find_payload(*blob_of(joined({member('x', "p", "29 size=18446744073709551615\n"), member('0', "f", "x")}))),
      ErrorCode::kCorruption, "reach past");
  expect_error(
      find_payload(*blob_of(joined({member('x', "p", "30 size=99999999999999999999x\n"), member('0', "f", "x")}))),
      ErrorCode::kCorruption, "malformed pax");
  expect_error(find_payload(*blob_of(joined({member('x', "p", "99 size=1\n"), member('0', "f", "x")}))),
               ErrorCode::kCorruption, "malformed pax");
  expect_error(find_payload(*blob_of(joined({member('0', "f", std::string(12, '\xff'), "x")}))), ErrorCode::kCorruption,
               "malformed size");
}

TEST(TarEnvelope, RefusesAnOrdinaryLayer) {
  expect_error(find_payload(*blob_of(joined({member('5', "etc/", ""), member('0', "etc/x", "x")}))),
               ErrorCode::kUnsupported, "not a block layer");
}

TEST(TarEnvelope, RefusesHeadersWithoutEnd) {
  expect_error(find_payload(*blob_of(joined(std::vector<Data>(100, member('g', "g", ""))))), ErrorCode::kCorruption,
               "more than");
}

}  // namespace
}  // namespace dadi::tar_envelope
