// Committed and sealed layers: header, index and trailer; and stacks of them.
// Input: a byte, odd for a layer file as it is, in any wrapping; even for drafts of up to four layers.
// Holds: the segments of an open layer are in order and within its file; a stack answers, sector by sector, as its
// layers' segments painted one over the other.
#include "libformat/blob/memory_blob.h"
#include "libformat/layer_file.h"
#include "tests/fuzz/naive_stack.h"

namespace dadi::fuzz {
namespace {

Data draft_layer(Input& input, std::size_t number) {
  constexpr std::array kFlags{lsmt::kCommittedHeader, lsmt::kAppendOnlyHeader, lsmt::kSparseHeader, lsmt::kIndexHeader};
  const unsigned bits = input.byte();
  const std::uint32_t flags = kFlags[bits & 3];
  const bool committed = flags == lsmt::kCommittedHeader;
  const lsmt::LayerInfo info = draft_info(input);
  Data file;
  draft_data(file, flags, info, number, {input.byte()});

  const std::size_t index_at = file.size();
  std::uint64_t records = input.byte() % 64;
  draft_records(input, file, records);
  std::array<std::byte, lsmt::kRecordSize> padding{};
  lsmt::encode_padding(padding);
  for (; committed && records % lsmt::kPaddingUnit != 0; ++records)
    file.insert(file.end(), padding.begin(), padding.end());
  file.resize(round_up(file.size(), kSectorSize));

  lsmt::Header trailer{.flags = flags == lsmt::kSparseHeader ? lsmt::kSealedSparseTrailer : lsmt::kCommittedTrailer,
                       .index_offset = {index_at},
                       .index_size = records,
                       .info = info};
  if (bits & 4) trailer.index_size = input.number<std::uint32_t>();
  if (bits & 8) trailer.index_offset = {input.number<std::uint64_t>()};
  if (bits & 16) trailer.info.user_tag.push_back('x');
  trailer.info.user_tag.resize(std::min(trailer.info.user_tag.size(), lsmt::kMaxUserTag));
  const auto end = lsmt::encode_header(trailer);
  file.insert(file.end(), end.begin(), end.end());
  if (bits & 32) damage(input, file);
  if (bits & 64) file.resize(file.size() - std::min<std::size_t>(file.size(), input.number<std::uint16_t>()));
  return file;
}

void stack_up(std::vector<SharedBlob> blobs) {
  std::vector<lsmt::LayerReader> layers;
  std::vector<SharedBlob> accepted;
  NaiveStack naive;
  for (const SharedBlob& blob : blobs) {
    auto file = open_layer_file(blob);
    if (!file) continue;
    require(file->layer.info().virtual_size.value % kSectorSize == 0, "a size is in whole sectors");
    require_in_order(file->layer);
    for (const auto& segment : file->layer.segments()) naive.insert(accepted.size(), segment);
    accepted.push_back(file->unwrapped);
    layers.push_back(std::move(file->layer));
  }
  if (layers.empty()) return;
  const auto stack = must(lsmt::StackReader::open(std::move(layers)), "open layers make a stack");
  naive.require_same(*stack, accepted);
}

}  // namespace
}  // namespace dadi::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace dadi;
  fuzz::Input input(data, size);
  std::vector<SharedBlob> blobs;
  const unsigned bits = input.byte();
  if (bits & 1) {
    const auto file = input.rest();
    blobs.push_back(std::make_shared<MemoryBlob>(fuzz::Data(file.begin(), file.end())));
  } else {
    for (std::size_t number = 0; number <= (bits >> 1 & 3); ++number)
      blobs.push_back(std::make_shared<MemoryBlob>(fuzz::draft_layer(input, number)));
  }
  fuzz::stack_up(std::move(blobs));
  return 0;
}
