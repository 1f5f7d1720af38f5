#include "apps/dadi/fresh_layer.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "apps/image/writable_upper.h"
#include "runtime/attach/control.h"

namespace dadi {
namespace {

constexpr std::chrono::minutes kPatience(1);  // it flushes what was written
constexpr Sectors kBlock{8};                  // the least that any form stores
constexpr Sectors kPiece{2048};

// Writes what `device` holds in `within` and `committed` does not.
Result<void> write_difference(const BlockReader& device, const BlockReader& committed, const lsmt::SectorSet& within,
                              lsmt::WritableLayer& layer, const ReadContext& context) {
  std::vector<std::byte> mine(to_bytes(kPiece).value);
  std::vector<std::byte> theirs(mine.size());
  lsmt::SectorSet blocks;
  within.for_each([&](lsmt::SectorRange range) {
    blocks.insert(
        {range.begin - range.begin % kBlock, {std::min(round_up(range.end.value, kBlock.value), device.size().value)}});
  });
  std::vector<lsmt::SectorRange> ranges;
  blocks.for_each([&](lsmt::SectorRange range) { ranges.push_back(range); });
  for (const lsmt::SectorRange& range : ranges) {
    for (Sectors at = range.begin; at < range.end;) {
      const Sectors length = std::min(kPiece, range.end - at);
      const auto here = std::span(mine).first(to_bytes(length).value);
      const auto there = std::span(theirs).first(here.size());
      DADI_CHECK(device.read_at(at, here, context));
      DADI_CHECK(committed.read_at(at, there, context));
      for (std::size_t offset = 0; offset < here.size();) {
        const std::size_t size = std::min(to_bytes(kBlock).value, here.size() - offset);
        const auto block = here.subspan(offset, size);
        if (std::memcmp(block.data(), there.subspan(offset, size).data(), size) != 0)
          DADI_CHECK(layer.write_at(at + whole_sectors(Bytes{offset}), block));
        offset += size;
      }
      at += length;
    }
  }
  return {};
}

}  // namespace

Result<std::string> go_on_in_fresh_layer(Session& session, const WrittenDevice& device, const AllRead& read) {
  DADI_TRY(const WritablePlace place, read_writable_place(device.folder));
  std::string name = next_layer_name(place);
  const auto form = device.form == "sparse" ? lsmt::WritableForm::kSparse : lsmt::WritableForm::kAppendOnly;
  {
    DADI_TRY(const auto layer, make_next_layer(device.folder / name, form, *read.layer, device.content));
    DADI_CHECK(write_difference(*device.content, *read.committed.device, read.committed.altered, *layer,
                                session.read_context()));
    DADI_CHECK(layer->flush());
  }
  DADI_TRY(const attach::Json answer, attach::ask(device.control, {{"request", "go_on_in"}, {"layer", name}},
                                                  attach::Patience::of(kPatience, session.stop())));
  return name;
}

Result<void> put_on_image(Session& session, const WrittenDevice& device, const std::string& layer,
                          const ImagePlace& image) {
  const attach::Json request{{"request", "put_on_image"}, {"layer", layer}, {"image", to_json(image)}};
  DADI_TRY(const attach::Json answer,
           attach::ask(device.control, request, attach::Patience::of(kPatience, session.stop())));
  return {};
}

}  // namespace dadi
