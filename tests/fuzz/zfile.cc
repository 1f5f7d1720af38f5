// A ZFile's header, jump table, trailer and blocks.
// Input: a byte of bits, then a ZFile, to which is done what the bits say; or, to be compressed, content.
// Holds: what is opened stays within the blob, and gives the same bytes, or the same refusal, block by block and at
// once; what is compressed comes back.
#include "libformat/base/crc32c.h"
#include "libformat/base/endian.h"
#include "libformat/blob/memory_blob.h"
#include "libformat/zfile/format.h"
#include "libformat/zfile/reader.h"
#include "libformat/zfile/writer.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/memory_sink.h"

namespace dadi::fuzz {
namespace {

using Data = std::vector<std::byte>;
using zfile::kRecordSize;

// Bits of the first byte.
constexpr unsigned kFitTable = 1;     // the table's place and the size follow from the number of entries
constexpr unsigned kSealBlocks = 2;   // checksums of blocks
constexpr unsigned kSealRecords = 4;  // of the table, the header and the trailer
constexpr unsigned kCopyTable = 8;    // the header says of the table what the trailer does
constexpr unsigned kRoundTrip = 128;  // the rest is content

// Fields of a record: formats.md, section 2.1.
constexpr std::size_t kDigestAt = 28;
constexpr std::size_t kIndexOffsetAt = 40;
constexpr std::size_t kIndexSizeAt = 48;
constexpr std::size_t kOriginalSizeAt = 56;
constexpr std::size_t kIndexCrcAt = 64;
constexpr std::size_t kBlockSizeAt = 72;
constexpr std::size_t kVerifyAt = 88;

// A ZFile that is put right where a fuzzer's changes broke what only a writer could know.
class Repair {
 public:
  // REQUIRES: room for header and trailer.
  explicit Repair(Data& file) : file_(file), trailer_(std::span(file).last(kRecordSize)) {}

  void fit_table() {
    const std::uint64_t room = file_.size() - 2 * kRecordSize;
    const std::uint64_t entries = std::min(number(kIndexSizeAt), room / 4);
    const std::uint64_t block_size = load_le<std::uint32_t>(trailer_, kBlockSizeAt);
    const std::uint64_t start = file_.size() - kRecordSize - entries * 4;
    store_le(trailer_, kIndexSizeAt, entries);
    store_le(trailer_, kIndexOffsetAt, start);
    if (entries == 0 || block_size == 0) return;
    store_le(trailer_, kOriginalSizeAt, entries * block_size - number(kOriginalSizeAt) % block_size);
    std::uint64_t end = kRecordSize;
    for (std::uint64_t i = 0; i + 1 < entries; ++i) end += load_le<std::uint32_t>(file_, start + i * 4);
    if (end < start) store_le(std::span(file_), start + (entries - 1) * 4, static_cast<std::uint32_t>(start - end));
  }

  void seal_blocks() {
    if (load_le<std::uint8_t>(trailer_, kVerifyAt) == 0) return;
    std::uint64_t at = kRecordSize;
    const auto lengths = table();
    for (std::size_t i = 0; i + 4 <= lengths.size(); i += 4) {
      const std::uint64_t length = load_le<std::uint32_t>(lengths, i);
      if (length < 4 || length > file_.size() - kRecordSize - at) return;
      const auto block = std::span(file_).subspan(at, length - 4);
      store_le(std::span(file_), at + length - 4, crc32c_raw(block));
      at += length;
    }
  }

  void copy_table() {
    std::copy_n(trailer_.begin() + kIndexOffsetAt, kBlockSizeAt - kIndexOffsetAt, file_.begin() + kIndexOffsetAt);
  }

  void seal_table() { store_le(trailer_, kIndexCrcAt, crc32c_raw(table())); }

  void seal_records() {
    for (const auto record : {std::span(file_).first(kRecordSize), trailer_}) {
      store_le(record, kDigestAt, std::uint32_t{0});
      store_le(record, kDigestAt, crc32c_raw(record));
    }
  }

 private:
  std::uint64_t number(std::size_t at) const { return load_le<std::uint64_t>(trailer_, at); }

  // As much of it as there is.
  std::span<const std::byte> table() const {
    const std::uint64_t start = std::min<std::uint64_t>(number(kIndexOffsetAt), file_.size() - kRecordSize);
    const std::uint64_t room = file_.size() - kRecordSize - start;
    return std::span(file_).subspan(start, std::min(number(kIndexSizeAt), room / 4) * 4);
  }

  Data& file_;
  std::span<std::byte> trailer_;
};

void read_back(const zfile::Reader& reader, Bytes blob_size) {
  constexpr std::uint64_t kMost = 64;  // blocks of at most 64 KiB
  const zfile::Info& info = reader.info();
  const std::uint64_t blocks = std::min(info.blocks, kMost);
  require(info.blocks == divide_up(info.raw_size.value, info.block_size), "blocks make up the size");
  Data pieces;
  bool all_sound = true;
  for (std::uint64_t block = 0; block < blocks; ++block) {
    const auto range = reader.stored_range(block);
    require(range.offset.value >= kRecordSize && range.offset + range.size <= blob_size - Bytes{kRecordSize},
            "a block is stored between header and trailer");
    require(range.size.value <= info.longest_stored, "no block is longer than the longest");
    pieces.resize(pieces.size() + reader.raw_size(block));
    const auto piece = std::span(pieces).last(reader.raw_size(block));
    // In two parts, neither of which is the block, where it is large enough.
    const std::size_t cut = piece.size() / 3;
    const Bytes at{block * info.block_size};
    const bool first = reader.read_at(at, piece.first(cut)).has_value();
    const bool second = reader.read_at(at + Bytes{cut}, piece.subspan(cut)).has_value();
    require(cut == 0 || first == second, "a block is sound or not, whichever part of it is read");
    all_sound = all_sound && second;
  }
  Data whole(pieces.size());
  const auto read = reader.read_at({0}, whole);
  require(read.has_value() == all_sound, "reading all of it fails if and only if a block does");
  require(!read || whole == pieces, "content does not depend on how it is read");
  std::byte beyond{};
  require(!reader.read_at(info.raw_size, {&beyond, 1}), "there is nothing past the end");
}

void open_and_read(Data file, unsigned bits) {
  if (file.size() >= 2 * kRecordSize) {
    Repair repair(file);
    if (bits & kFitTable) repair.fit_table();
    if (bits & kSealBlocks) repair.seal_blocks();
    if (bits & kSealRecords) repair.seal_table();
    if (bits & kCopyTable) repair.copy_table();
    if (bits & kSealRecords) repair.seal_records();
  }
  const auto blob = std::make_shared<MemoryBlob>(std::move(file));
  const bool claims = must(zfile::is_zfile(*blob), "a blob in memory is read");
  const auto reader = zfile::Reader::open(blob);
  if (!reader) return;
  require(claims, "what is opened as a ZFile begins like one");
  read_back(**reader, blob->size());
}

void compress_and_read(Input& input, unsigned bits) {
  const zfile::Options options{.algorithm = bits & 1 ? zfile::Algorithm::kZstd : zfile::Algorithm::kLz4,
                               .level = static_cast<int>(1 + (bits >> 1 & 3)),
                               .block_size = zfile::kMinBlockSize << (bits >> 3 & 3)};
  const auto content = input.rest();
  MemorySink sink;
  sink.bytes.resize(kRecordSize);  // where the header goes
  zfile::Writer writer(sink, options);
  auto encoder = must(zfile::BlockEncoder::create(options), "legal options");
  for (std::size_t at = 0; at < content.size(); at += options.block_size) {
    const auto raw = content.subspan(at, std::min<std::size_t>(options.block_size, content.size() - at));
    Data stored;
    must(encoder.encode(raw, stored), "a block is compressed");
    must(writer.add(stored, raw.size()), "a block is added");
  }
  const auto finished = must(writer.finish(), "a ZFile is finished");
  std::ranges::copy(finished.header, sink.bytes.begin());
  require(finished.size.value == sink.bytes.size(), "the writer knows what it wrote");
  const auto blob = std::make_shared<MemoryBlob>(std::move(sink.bytes));
  const auto reader = must(zfile::Reader::open(blob), "what we wrote opens");
  Data back(content.size());
  must(reader->read_at({0}, back), "what we wrote is read");
  require(reader->size().value == content.size() && std::ranges::equal(back, content), "content comes back");
}

}  // namespace
}  // namespace dadi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  dadi::fuzz::Input input(data, size);
  const unsigned bits = input.byte();
  if (bits & dadi::fuzz::kRoundTrip) {
    dadi::fuzz::compress_and_read(input, bits);
  } else {
    const auto file = input.rest();
    dadi::fuzz::open_and_read({file.begin(), file.end()}, bits);
  }
  return 0;
}
