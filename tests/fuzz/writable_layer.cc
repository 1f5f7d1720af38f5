// Writable layers: the log beside an append-only one, and what is data in a sparse one.
// Input: drafts of a data file and a log; or of a sparse file.
// Holds: the layer is the log's sound records, the later over the earlier; a record that is cut off counts for nothing;
// a sparse layer has its file's data and no more; on a stack they answer as their segments do.
#include <sys/mman.h>
#include <unistd.h>

#include "libformat/base/unique_fd.h"
#include "libformat/blob/memory_blob.h"
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
