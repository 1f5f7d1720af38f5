#include "apps/dadi/fresh_layer.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "apps/image/block_image.h"
#include "apps/image/writable_upper.h"
#include "libconvert/pipeline/device_layer.h"
#include "runtime/attach/control.h"

namespace dadi {
namespace {

constexpr std::chrono::minutes kPatience(1);  // it flushes what was written
constexpr Sectors kPiece{2048};

// Writes what `device` holds in `within` and `committed` does not.
Result<void> write_difference(const BlockReader& device, const BlockReader& committed, const lsmt::SectorSet& within,
                              lsmt::WritableLayer& layer, const ReadContext& context) {
  DADI_TRY(const auto changes, pipeline::DeviceChanges::find(device, &committed, within, context, [](Bytes) {}));
  std::vector<std::byte> buffer(to_bytes(kPiece).value);
  for (const pipeline::DeviceChanges::Run& run : changes.runs()) {
    if (run.zeroed) {
      DADI_CHECK(layer.write_zeroes(run.at, run.length));
      continue;
    }
    for (Sectors at = run.at, end = run.at + run.length; at < end;) {
      const auto piece = std::span(buffer).first(to_bytes(std::min(kPiece, end - at)).value);
      DADI_CHECK(device.read_at(at, piece, context));
      DADI_CHECK(layer.write_at(at, piece));
      at += whole_sectors(piece);
    }
  }
  return {};
}

}  // namespace

Result<WrittenState> written_state(Session& session, const std::filesystem::path& control) {
  DADI_TRY(const attach::Json answer,
           attach::ask(control, {{"request", "changes"}}, attach::Patience::of(kPatience, session.stop())));
  const auto changes = answer.find("changes");
  const auto sparse = answer.find("sparse");
  if (changes == answer.end() || !changes->is_number_unsigned() || sparse == answer.end() || !sparse->is_boolean())
    return Error::corruption("an answer that is none");
  return WrittenState{.changes = changes->get<std::uint64_t>(),
                      .form = sparse->get<bool>() ? lsmt::WritableForm::kSparse : lsmt::WritableForm::kAppendOnly};
}

Result<std::string> go_on_in_fresh_layer(Session& session, const WrittenDevice& device, const AllRead& read) {
  DADI_TRY(auto layer, make_next_layer(device.folder, device.state.form, *read.layer, device.content));
  const std::string name = layer_name(layer->info().uuid);
  auto filled =
      write_difference(*device.content, *read.committed.device, read.committed.altered, *layer, session.read_context());
  if (filled) filled = layer->flush();
  layer.reset();
  if (!filled) {
    remove_next_layer(device.folder, name);
    return std::move(filled).error();
  }
  const attach::Json request{{"request", "go_on_in"}, {"layer", name}, {"changes", device.state.changes}};
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
