// The stages of a conversion, each by itself.
#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <thread>

#include "libconvert/pipeline/block_compressor.h"
#include "libconvert/pipeline/decompressed_source.h"
#include "libconvert/pipeline/piece_ring.h"
#include "libconvert/pipeline/read_ahead.h"
#include "libformat/base/bytes.h"
#include "libformat/blob/memory_blob.h"
#include "libformat/zfile/reader.h"

namespace dadi::pipeline {
namespace {

// Gives text in pieces of some size, then an error if there is one.
class TextSource final : public ByteSource {
 public:
  TextSource(std::string text, std::size_t piece, std::optional<Error> failure = {})
      : text_(std::move(text)), piece_(piece), failure_(std::move(failure)) {}

  Result<std::span<const std::byte>> next() override {
    const std::string_view rest = std::string_view(text_).substr(at_, piece_);
    at_ += rest.size();
    if (rest.empty() && failure_) return *failure_;
    return as_bytes(rest);
  }

 private:
  std::string text_;
  std::size_t piece_;
  std::optional<Error> failure_;
  std::size_t at_ = 0;
};

Result<std::string> read_all(ByteSource& source) {
  std::string all;
  while (true) {
    DADI_TRY(const auto piece, source.next());
    if (piece.empty()) return all;
    all += as_text(piece);
  }
}

Result<std::string> read_all(DecompressedSource& source) {
  std::string all;
  std::vector<std::byte> buffer(70'001);
  while (true) {
    DADI_TRY(const std::size_t size, source.read(buffer));
    if (size == 0) return all;
    all += as_text(std::span(buffer).first(size));
  }
}

Result<std::string> decompress(const std::string& compressed, std::size_t piece = 1000) {
  DADI_TRY(auto source, DecompressedSource::open(std::make_unique<TextSource>(compressed, piece)));
  return read_all(*source);
}

// `header`: what the member's header says, if it is to say more than it must.
std::string gzip(const std::string& text, gz_header* header = nullptr) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
  if (header != nullptr) {
    EXPECT_EQ(deflateSetHeader(&stream, header), Z_OK);
  }
  std::string out(deflateBound(&stream, text.size()) + 512, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string zstd(const std::string& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

std::string sample(std::size_t size) {
  std::string text;
  for (std::uint32_t i = 1; text.size() < size; ++i) text += std::to_string(i * 2654435761u) + (i % 5 != 0 ? "\n" : "");
  text.resize(size);
  return text;
}

TEST(DecompressedSource, ReadsEveryFormInPiecesOfAnySize) {
  const std::string text = sample(900'000);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{4096}, std::size_t{10'000'000}}) {
    EXPECT_EQ(decompress(gzip(text), piece).value(), text);
    EXPECT_EQ(decompress(zstd(text), piece).value(), text);
    EXPECT_EQ(decompress(text, piece).value(), text);
  }
}

TEST(DecompressedSource, ReadsSeveralMembersAndFrames) {
  const std::string a = sample(300'000);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{100'000}}) {
    EXPECT_EQ(decompress(gzip(a) + gzip("b") + gzip("") + gzip(a), piece).value(), a + "b" + a);
    EXPECT_EQ(decompress(zstd(a) + zstd("b") + zstd("") + zstd(a), piece).value(), a + "b" + a);
  }
}

TEST(DecompressedSource, ReadsGzipHeadersThatComeInPieces) {
  std::string extra(50, 'e');
  std::string name(40, 'n');
  gz_header header{};
  header.extra = reinterpret_cast<Bytef*>(extra.data());
  header.extra_len = static_cast<uInt>(extra.size());
  header.name = header.comment = reinterpret_cast<Bytef*>(name.data());
  header.hcrc = 1;
  const std::string text = sample(1000);
  const std::string members = gzip(text, &header) + gzip("") + gzip(text, &header);
  for (std::size_t piece = 1; piece < 300; ++piece) EXPECT_EQ(decompress(members, piece).value(), text + text) << piece;
  for (std::size_t size = 5; size < 150; ++size)
    EXPECT_EQ(decompress(members.substr(0, size), 3).error().code(), ErrorCode::kCorruption) << size;
}

TEST(DecompressedSource, OverlooksZeroPaddingBehindGzipAndNothingElse) {
  EXPECT_EQ(decompress(gzip("a") + std::string(1000, '\0'), 10).value(), "a");
  EXPECT_EQ(decompress(gzip("a") + "garbage").error().code(), ErrorCode::kCorruption);
  EXPECT_EQ(decompress(gzip("a") + std::string(1000, '\0') + gzip("b"), 500).error().code(), ErrorCode::kCorruption);
  EXPECT_EQ(decompress(zstd("a") + "garbage").error().code(), ErrorCode::kCorruption);
}

TEST(DecompressedSource, RefusesWhatIsCutShort) {
  const std::string text = sample(100'000);
  for (const std::string& whole : {gzip(text), zstd(text)}) {
    for (std::size_t size = 5; size < whole.size(); size += whole.size() / 40)
      EXPECT_EQ(decompress(whole.substr(0, size)).error().code(), ErrorCode::kCorruption) << size;
    EXPECT_EQ(decompress(whole.substr(0, whole.size() - 1)).error().code(), ErrorCode::kCorruption);
  }
}

TEST(DecompressedSource, RefusesWhatItsChecksumContradicts) {
  std::string whole = gzip(sample(100'000));
  whole[whole.size() - 8] = static_cast<char>(whole[whole.size() - 8] ^ 1);
  EXPECT_EQ(decompress(whole).error().code(), ErrorCode::kCorruption);
}

TEST(DecompressedSource, NothingIsAnEmptyStream) {
  EXPECT_EQ(decompress("").value(), "");
}

TEST(DecompressedSource, PassesErrorsOn) {
  auto source = DecompressedSource::open(
      std::make_unique<TextSource>(gzip(sample(100'000)).substr(0, 1000), 100, Error::denied("no")));
  ASSERT_TRUE(source);
  EXPECT_EQ(read_all(**source).error().code(), ErrorCode::kDenied);
}

TEST(ReadAhead, GivesTheSameBytesAndErrors) {
  const std::string text = sample(9'000'000);
  auto whole = read_ahead(std::make_unique<TextSource>(text, 12'345));
  EXPECT_EQ(read_all(*whole).value(), text);
  EXPECT_TRUE(whole->next()->empty());
  auto failing = read_ahead(std::make_unique<TextSource>(text, 12'345, Error::io("gone")));
  EXPECT_EQ(read_all(*failing).error().message(), "gone");
}

TEST(ReadAhead, CanBeGivenUpAtAnyTime) {
  for (int pieces = 0; pieces < 4; ++pieces) {
    auto source = read_ahead(std::make_unique<TextSource>(sample(9'000'000), 100'000));
    for (int i = 0; i < pieces; ++i) ASSERT_TRUE(source->next());
  }
}

TEST(PieceRing, EveryReaderGetsEveryPieceInOrder) {
  PieceRing ring(4, 100, 2);
  const std::string text = sample(10'000);
  std::jthread filling([&] {
    for (std::size_t at = 0; at < text.size();) {
      const std::string_view piece = std::string_view(text).substr(at, 1 + at % 100);
      std::ranges::copy(as_bytes(piece), ring.buffer().begin());
      ring.filled(piece.size());
      at += piece.size();
    }
    ring.end(Error::io("gone"));
  });
  const auto read = [&](std::size_t reader) {
    std::string all;
    auto piece = ring.next(reader);
    for (; piece; piece = ring.next(reader)) all += as_text(*piece);
    EXPECT_EQ(piece.error().message(), "gone");
    EXPECT_EQ(ring.next(reader).error().message(), "gone");
    return all;
  };
  std::string other;
  std::jthread second([&] { other = read(1); });
  EXPECT_EQ(read(0), text);
  second.join();
  EXPECT_EQ(other, text);
}

TEST(PieceRing, NobodyWaitsOnceItIsStopped) {
  PieceRing ring(4, 100, 1);
  std::jthread filling([&] {
    while (!ring.buffer().empty()) ring.filled(1);
  });
  EXPECT_EQ(ring.next(0)->size(), 1u);
  ring.stop();
  EXPECT_TRUE(ring.next(0)->empty());
}

class VectorSink final : public ByteSink {
 public:
  explicit VectorSink(std::size_t room = ~std::size_t{0}) : room_(room) {}
  Result<void> write(std::span<const std::byte> data) override {
    if (bytes.size() + data.size() > room_) return Error::exhausted("full");
    bytes.insert(bytes.end(), data.begin(), data.end());
    return {};
  }
  std::vector<std::byte> bytes;

 private:
  std::size_t room_;
};

std::vector<std::byte> compress(const std::string& text, const zfile::Options& options, unsigned workers,
                                std::size_t piece) {
  VectorSink sink;
  const auto threads = CompressionWorkers::create(options, workers);
  EXPECT_TRUE(threads);
  BlockCompressor compressor(sink, **threads);
  for (std::size_t at = 0; at < text.size(); at += piece)
    EXPECT_TRUE(compressor.write(as_bytes(std::string_view(text).substr(at, piece))));
  auto finished = compressor.finish();
  EXPECT_TRUE(finished);
  std::vector<std::byte> file(finished->header.size() + sink.bytes.size());
  std::ranges::copy(sink.bytes, std::ranges::copy(finished->header, file.begin()).out);
  EXPECT_EQ(file.size(), finished->size.value);
  return file;
}

TEST(BlockCompressor, BytesDoNotDependOnThreadsOrPieces) {
  const std::string text = sample(3'000'001);
  for (const zfile::Options& options : {zfile::Options{}, zfile::Options{zfile::Algorithm::kZstd, 3, 16384}}) {
    const auto expected = compress(text, options, 1, text.size());
    for (const unsigned workers : {2u, 16u})
      for (const std::size_t piece : {std::size_t{512}, std::size_t{4096}, std::size_t{1'000'000}})
        EXPECT_TRUE(compress(text, options, workers, piece) == expected) << workers << " " << piece;
    auto reader = zfile::Reader::open(std::make_shared<MemoryBlob>(expected));
    ASSERT_TRUE(reader);
    EXPECT_EQ(as_text(read_range(**reader, {0}, (*reader)->size()).value()), text);
  }
}

TEST(BlockCompressor, SeveralShareWorkersWhileOneIsFilled) {
  const std::string text = sample(3'000'001);
  const auto expected = compress(text, {}, 1, text.size());
  const auto workers = CompressionWorkers::create({}, 1);
  ASSERT_TRUE(workers);
  std::array<VectorSink, 6> sinks;
  std::vector<std::jthread> finishing;
  for (VectorSink& sink : sinks) {
    auto compressor = std::make_unique<BlockCompressor>(sink, **workers);
    ASSERT_TRUE(compressor->write(as_bytes(text)));
    finishing.emplace_back([own = std::move(compressor)] { EXPECT_TRUE(own->finish()); });
  }
  finishing.clear();
  for (const VectorSink& sink : sinks)
    EXPECT_TRUE(std::ranges::equal(sink.bytes, std::span(expected).subspan(zfile::kRecordSize)));
}

TEST(BlockCompressor, AFullSinkIsAnErrorAtTheLatestInFinish) {
  VectorSink sink(100'000);
  const auto workers = CompressionWorkers::create({}, 2);
  ASSERT_TRUE(workers);
  BlockCompressor compressor(sink, **workers);
  const std::string text = sample(4'000'000);
  Result<void> result = compressor.write(as_bytes(text));
  if (result) {
    const auto finished = compressor.finish();
    ASSERT_FALSE(finished);
    result = finished.error();
  }
  EXPECT_EQ(result.error().code(), ErrorCode::kExhausted);
}

}  // namespace
}  // namespace dadi::pipeline
