// Writable layers: the two logs beside an append-only one, and what is data in a sparse one.
// Input: drafts of a data file, a log, and a log of small flushes; or of a sparse file.
// Holds: the layer is the log's sound records, the later over the earlier; a record that is cut off counts for nothing;
// small flushes read over the two files are what they are when they are put in place; a sparse layer has its file's
// data and no more; on a stack they answer as their segments do.
#include <sys/mman.h>
#include <unistd.h>

#include "libformat/base/crc64.h"
#include "libformat/base/unique_fd.h"
#include "libformat/blob/memory_blob.h"
#include "libformat/lsmt/flush_log.h"
#include "tests/fuzz/naive_stack.h"

namespace dadi::fuzz {
namespace {

void require_stack(lsmt::LayerReader layer, const NaiveStack& naive) {
  require_in_order(layer);
  NaiveStack own;
  for (const auto& segment : layer.segments()) own.insert(0, segment);
  require(own.answers() == naive.answers(), "the layer's segments are what its file says");
  const std::vector<SharedBlob> blobs{layer.blob()};
  std::vector<lsmt::LayerReader> layers;
  layers.push_back(std::move(layer));
  own.require_same(*must(lsmt::StackReader::open(std::move(layers)), "an open layer makes a stack"), blobs);
}

// The records of a log as a reader should see them.
NaiveStack replay(std::span<const std::byte> log) {
  NaiveStack naive;
  for (std::size_t at = lsmt::kHeaderSize; at + lsmt::kRecordSize <= log.size(); at += lsmt::kRecordSize) {
    const lsmt::Record record = lsmt::decode_record(log.subspan(at, lsmt::kRecordSize));
    if (!record.is_padding()) naive.insert(0, record.segment);
  }
  return naive;
}

class ChangingFile final : public WritableFile {
 public:
  explicit ChangingFile(Data bytes) : bytes_(std::move(bytes)) {}

  const Data& bytes() const { return bytes_; }
  Bytes size() const override { return {bytes_.size()}; }
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& /*context*/) const override {
    require(offset <= size() && out.size() <= (size() - offset).value, "what is read is within the file");
    std::ranges::copy(std::span(bytes_).subspan(offset.value, out.size()), out.begin());
    return {};
  }
  Result<void> write_at(Bytes offset, std::span<const std::byte> data) override {
    require(offset <= size(), "what is written goes on where the file ends, at most");
    bytes_.resize(std::max(bytes_.size(), offset.value + data.size()));
    std::ranges::copy(data, bytes_.begin() + static_cast<std::ptrdiff_t>(offset.value));
    return {};
  }
  Result<void> resize(Bytes /*size*/) override { fail("the file is resized"); }
  Result<void> punch(Bytes /*offset*/, Bytes /*length*/) override { fail("a hole is punched"); }
  Result<std::optional<Stretch>> next_data(Bytes /*from*/) const override { fail("holes are looked for"); }
  Result<void> sync() override { return {}; }

 private:
  Data bytes_;
};

// Flushes, most of which go on where the one before ended, and have their checksum whatever they hold.
Data draft_flushes(Input& input, const lsmt::Uuid& layer) {
  Data log;
  std::uint64_t number = input.byte();
  std::uint64_t place = input.byte();
  Sectors at{input.byte()};
  for (unsigned count = input.byte() % 8; count > 0; --count, ++number) {
    const unsigned bits = input.byte();
    if (bits & 1) number = input.byte();
    if (bits & 2) place = input.number<std::uint64_t>();
    if (bits & 4) at = {input.number<std::uint64_t>()};
    std::vector<lsmt::Segment> records;
    Sectors end = at;
    for (unsigned left = input.byte() % 8; left > 0; --left) {
      const unsigned kind = input.byte();
      const Sectors length{1U + (kind >> 4)};
      const bool zeroed = (kind & 1) != 0;
      records.push_back({{input.number<std::uint16_t>() % std::uint64_t{1200}}, length, end, zeroed});
      if (kind & 2) records.back().moffset = {input.byte()};
      if (!zeroed) end += length;
    }
    const lsmt::LoggedFlush flush{.place = place, .records = records, .data = {at, end}};
    Data raw(lsmt::logged_size(flush).value);
    for (Sectors sector = at; sector < end; sector += Sectors{1})
      std::ranges::copy(
          sector_content(1, sector),
          raw.begin() + static_cast<std::ptrdiff_t>(lsmt::logged_data_at(flush) + to_bytes(sector - at).value));
    lsmt::encode_flush(flush, layer, number, raw);
    if (bits & 8) damage(input, raw);
    if (bits & 16) store_le(std::span(raw), 8, crc64(std::span(raw).subspan(16)));
    log.insert(log.end(), raw.begin(), raw.end());
    place += records.size();
    at = end;
  }
  return log;
}

// Both ways of putting a round on top of two files; they must agree.
void flushed(const Data& file, const Data& log, const Data& flushes) {
  const auto layer = lsmt::LayerReader::open_append_only(
      std::make_shared<MemoryBlob>(file), std::make_shared<MemoryBlob>(log), std::make_shared<MemoryBlob>(flushes));
  const auto header = file.size() < lsmt::kHeaderSize ? Error::corruption("") : lsmt::decode_header(file);
  if (!header) return require(!layer, "no layer is without its header");
  const auto round = lsmt::read_flush_log(MemoryBlob(flushes), header->info.uuid);
  if (!round) return require(!layer, "what a log of flushes refuses no layer takes");
  ChangingFile data(file);
  ChangingFile index(log);
  if (!round->empty() && !lsmt::put_in_place(*round, data, index))
    return require(!layer, "a round that contradicts the files is refused");
  const auto after = lsmt::LayerReader::open_append_only(std::make_shared<MemoryBlob>(data.bytes()),
                                                         std::make_shared<MemoryBlob>(index.bytes()));
  require(layer.has_value() == after.has_value(), "a layer opens before and after its flushes are put in place");
  if (!layer) return;
  require(std::ranges::equal(layer->segments(), after->segments()), "it has the same segments");
  for (const lsmt::Segment& segment : layer->segments()) {
    Data before(segment.zeroed ? 0 : to_bytes(segment.length).value);
    Data then(before.size());
    must(layer->blob()->read_at(to_bytes(segment.moffset), before), "its data is read");
    must(after->blob()->read_at(to_bytes(segment.moffset), then), "its data is read");
    require(before == then, "it has the same data");
  }
  require_stack(*layer, replay(index.bytes()));
}

void append_only(Input& input, unsigned bits) {
  const lsmt::LayerInfo info = draft_info(input);
  Data file;
  draft_data(file, lsmt::kAppendOnlyHeader, info, 0, {input.byte()});
  lsmt::Header header{.flags = lsmt::kIndexHeader, .index_offset = {lsmt::kHeaderSize}, .info = info};
  if (bits & 2) header.index_offset = {input.number<std::uint32_t>()};
  if (bits & 4) header.info.virtual_size = {input.number<std::uint64_t>()};
  const auto raw = lsmt::encode_header(header);
  Data log(raw.begin(), raw.end());
  draft_records(input, log, input.byte());
  if (bits & 8) damage(input, log);
  if (bits & 16) damage(input, file);
  if (bits & 32) log.resize(log.size() - std::min<std::size_t>(log.size(), input.byte()));
  if (bits & 64) file.resize(file.size() - std::min<std::size_t>(file.size(), input.number<std::uint16_t>()));

  if (bits & 128) return flushed(file, log, draft_flushes(input, info.uuid));

  const NaiveStack naive = replay(log);
  const auto data = std::make_shared<MemoryBlob>(std::move(file));
  auto layer = lsmt::LayerReader::open_append_only(data, std::make_shared<MemoryBlob>(std::move(log)));
  if (layer) require_stack(*std::move(layer), naive);
}

// Pages are what a file in memory keeps or not.
void sparse(Input& input) {
  constexpr std::uint64_t kPage = 4096;
  UniqueFd fd(::memfd_create("sparse layer", MFD_CLOEXEC));
  require(static_cast<bool>(fd), "a file in memory is made");
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  Data header;
  draft_data(header, lsmt::kSparseHeader, draft_info(input), 0, {});
  damage(input, header);
  const std::uint64_t pages = 1 + input.number<std::uint16_t>() % 512;
  const std::uint64_t tail = input.number<std::uint16_t>() % kPage;
  require(::ftruncate(fd.get(), static_cast<off_t>(pages * kPage + tail)) == 0, "a file gets its size");
  require(::pwrite(fd.get(), header.data(), header.size(), 0) == static_cast<ssize_t>(header.size()),
          "a file is written");
  NaiveStack naive;
  while (!input.empty()) {
    const std::uint64_t page = 1 + input.number<std::uint16_t>() % pages;
    const Bytes size{page == pages ? tail : kPage};
    const Sectors moffset = whole_sectors(Bytes{page * kPage});
    const auto sector = sector_content(0, moffset);
    const auto content = std::span(sector).first(std::min(size.value, kSectorSize));
    require(::pwrite(fd.get(), content.data(), content.size(), static_cast<off_t>(page * kPage)) >= 0,
            "a file is written");
    naive.insert(0, {.offset = moffset - lsmt::kDataStart, .length = whole_sectors(size), .moffset = moffset});
  }
  auto layer = lsmt::LayerReader::open_sparse(must(FileBlob::open(path), "a file in memory opens"));
  if (layer) require_stack(*std::move(layer), naive);
}

}  // namespace
}  // namespace dadi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  dadi::fuzz::Input input(data, size);
  const unsigned bits = input.byte();
  bits & 1 ? dadi::fuzz::sparse(input) : dadi::fuzz::append_only(input, bits);
  return 0;
}
