#include "apps/dadi/fresh_layer.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "apps/image/block_image.h"
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

Result<std::uint64_t> changes_of(Session& session, const std::filesystem::path& control) {
  DADI_TRY(const attach::Json answer,
           attach::ask(control, {{"request", "changes"}}, attach::Patience::of(kPatience, session.stop())));
  const auto changes = answer.find("changes");
  if (changes == answer.end() || !changes->is_number_unsigned()) return Error::corruption("an answer that is none");
  return changes->get<std::uint64_t>();
}

Result<std::string> go_on_in_fresh_layer(Session& session, const WrittenDevice& device, const AllRead& read) {
  const auto form = device.form == "sparse" ? lsmt::WritableForm::kSparse : lsmt::WritableForm::kAppendOnly;
  DADI_TRY(auto layer, make_next_layer(device.folder, form, *read.layer, device.content));
  const std::string name = layer_name(layer->info().uuid);
  auto filled =
      write_difference(*device.content, *read.committed.device, read.committed.altered, *layer, session.read_context());
  if (filled) filled = layer->flush();
  layer.reset();
  if (!filled) {
    remove_next_layer(device.folder, name);
    return std::move(filled).error();
  }
  const attach::Json request{{"request", "go_on_in"}, {"layer", name}, {"changes", device.changes}};
  const auto answer = attach::ask(device.control, request, attach::Patience::of(kPatience, session.stop()));
  if (answer) return name;
  const bool refused =
      answer.error().code() != ErrorCode::kUnavailable && answer.error().code() != ErrorCode::kCancelled;
  if (refused) remove_next_layer(device.folder, name);
  return answer.error();
}

Result<void> put_on_image(Session& session, const WrittenDevice& device, const std::string& layer,
                          const ImagePlace& image, const lsmt::Uuid& top) {
  ImageReach reach = image.reach;
  reach.registry.stop = session.stop();
  reach.lazy.replay = false;
  DADI_TRY(FoundImage found, find_block_image(
                                 image.reference, image.platform, [](std::string_view) {}, reach));
  DADI_TRY(const BlockImage opened, open_block_image(std::move(found), session.read_context()));
  if (opened.layers.back().reader.info().uuid != top) return Error::corruption("it is another image");
  const attach::Json request{{"request", "put_on_image"}, {"layer", layer}, {"image", to_json(image)}};
  DADI_TRY(const attach::Json answer,
           attach::ask(device.control, request, attach::Patience::of(kPatience, session.stop())));
  return {};
}

}  // namespace dadi
