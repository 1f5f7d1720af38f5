#include "apps/dadi/commit_layer.h"

#include <array>
#include <memory>
#include <optional>

#include "apps/dadi/sizes.h"
#include "libformat/base/endian.h"
#include "libfs/ext4/layout.h"
#include "libfs/writer/settled_device.h"

namespace dadi {
namespace {

namespace layout = fs::layout;

// What the new layer is to lie on, and where it may differ from that.
struct Floor {
  std::shared_ptr<const BlockReader> device;  // null: none
  lsmt::Uuid parent{};
  lsmt::SectorSet written;
  std::optional<std::size_t> layers_kept;
};

// The image without its `squash` topmost layers: what these hold is looked at, too.
Result<Floor> floor_below(Session& session, const OpenImage& image, lsmt::SectorSet written, std::size_t squash) {
  const ImagePlace& place = image.place;
  const auto note = [](std::string_view) {};  // said when it was opened before
  DADI_TRY(FoundImage found, find_block_image(place.reference, place.platform, note, place.reach));
  DADI_TRY(BlockImage opened, open_block_image(std::move(found), session.read_context()));
  if (squash > opened.layers.size())
    return Error::invalid_argument("--squash {}, of an image of {}", squash,
                                   format_count(opened.layers.size(), "layer"));
  Floor floor{.device = {}, .parent = {}, .written = std::move(written), .layers_kept = opened.layers.size() - squash};
  while (opened.layers.size() > *floor.layers_kept) {
    for (const lsmt::Segment& segment : opened.layers.back().reader.segments())
      floor.written.insert({segment.offset, segment.end()});
    opened.layers.pop_back();
  }
  if (opened.layers.empty()) return floor;
  floor.parent = opened.layers.back().reader.info().uuid;
  DADI_TRY(floor.device, stack(std::move(opened.layers)));
  return floor;
}

Result<Floor> floor_of(Session& session, const OpenImage& below, const ChangedDevice& changed,
                       const CommitOptions& options) {
  if (options.squash > 0) return floor_below(session, below, changed.written, options.squash);
  return Floor{
      .device = below.device, .parent = below.device->top().uuid, .written = changed.written, .layers_kept = {}};
}

// Its ext4 file system as if it was unmounted, and without the journal that came with the writable layer (`attach
// --journal`). Of an image that has a journal itself it is as it was, with its own list of what is in use.
Result<ChangedDevice> settled(const ChangedDevice& changed, const OpenImage& below, const ReadContext& context) {
  DADI_TRY(const bool had, fs::has_journal(*below.device, context));
  if (had) return changed;
  DADI_TRY(const bool has, fs::has_journal(*changed.device, context));
  DADI_TRY(const auto device, has ? fs::SettledDevice::without_journal(changed.device)
                                  : fs::SettledDevice::without_nameless(changed.device, changed.written));
  if (!device) return changed;
  ChangedDevice without{.device = device, .written = changed.written, .altered = changed.altered};
  without.written.merge(device->changed());
  without.altered.merge(device->changed());
  return without;
}

}  // namespace

Result<void> require_clean(const BlockReader& device, const ReadContext& context) {
  std::array<std::byte, layout::kSuperblockSize> raw{};
  const Sectors at = whole_sectors(Bytes{layout::kSuperblockOffset});
  if (device.size() < at + whole_sectors(raw)) return {};
  DADI_CHECK(device.read_at(at, raw, context));
  if (load_le<std::uint16_t>(raw, layout::super::kMagic) != layout::super::kMagicValue) return {};
  const auto state = load_le<std::uint16_t>(raw, layout::super::kState);
  const auto incompatible = load_le<std::uint32_t>(raw, layout::super::kIncompatible);
  const auto refuse = [](const char* what) {
    return Error::corruption("its file system {}", what)
        .with_hint("attach it once more with --mount, which has e2fsck repair it");
  };
  if ((state & layout::super::kStateErrors) != 0) return refuse("has errors");
  if ((state & layout::super::kStateClean) == 0) return refuse("was not cleanly unmounted");
  if ((incompatible & layout::incompatible::kNeedsRecovery) != 0) return refuse("has a journal to be replayed");
  return {};
}

Result<Digest> commit_layer(Session& session, const OpenImage& below, const ChangedDevice& written, NewImage& image,
                            const CommitOptions& options, const std::function<Result<void>(const AllRead&)>& read) {
  if (!below.stored)
    return Error::unsupported("the image below is block layers alone, without a manifest and a config");
  DADI_CHECK(require_clean(*written.device, session.read_context()));
  DADI_TRY(const ChangedDevice changed, settled(written, below, session.read_context()));
  const oci::SelectedImage& base = below.stored->image;
  DADI_TRY(const Floor floor, floor_of(session, below, changed, options));
  const pipeline::DeviceLayerOptions layer_options{
      .parent = floor.parent,
      .message = options.message,
      .family = oci::family_of(base.manifest.media_type),
      .all_read = [&](const lsmt::Uuid& uuid) { return read({.committed = changed, .layer = uuid}); }};
  DADI_TRY(const auto layer, image.write_layer(*changed.device, floor.device.get(), floor.written, layer_options));
  if (!layer) DADI_CHECK(read({.committed = changed, .layer = {}}));
  pipeline::Derivation derivation{.layers_kept = floor.layers_kept, .config = options.config};
  if (layer) {
    derivation.added.push_back(
        {.descriptor = layer->descriptor, .created_by = options.created_by, .comment = options.message});
  } else if (floor.device == nullptr) {
    return Error::unsupported("the device holds nothing but zeros");
  } else {
    session.note("nothing on the device has changed: no layer is added");
  }
  CopyProgress observer(session);
  DADI_TRY(const auto derived, pipeline::derive_image(*below.stored->source, base, image.destination(), derivation,
                                                      observer, session.stop()));
  DADI_CHECK(image.publish(derived.manifest, layer, derived.copied));
  return derived.manifest.digest;
}

}  // namespace dadi
