// dadi commit NAME|DIR DST
#include <filesystem>
#include <optional>

#include "apps/dadi/commands.h"
#include "apps/dadi/commit_layer.h"
#include "apps/dadi/config_options.h"
#include "apps/dadi/fresh_layer.h"
#include "apps/dadi/printable.h"
#include "apps/dadi/registry_options.h"
#include "apps/image/writable_upper.h"
#include "libfs/ext4/unmounted_device.h"
#include "runtime/attach/frozen_mount.h"
#include "runtime/attach/mounts.h"
#include "runtime/attach/state_folder.h"

namespace dadi {
namespace {

struct CommitCommand {
  std::string target;
  std::string message;
  unsigned squash = 0;
  bool live = false;
  ConfigWords config;
  NewImageOptions image;
  RegistryOptions registry;
};

// What is to be committed: a folder of writable layers, and the device that a dadid makes of them.
struct Target {
  std::filesystem::path folder;
  std::string device;                  // "": it is not attached
  std::filesystem::path control = {};  // of that dadid
};

// A folder by its path, or the folder of a writable attachment by its name.
Result<Target> find_target(const std::string& text) {
  std::error_code ignored;
  if (std::filesystem::is_directory(text, ignored)) return Target{.folder = text, .device = ""};
  DADI_TRY(const auto state, attach::StateFolder::find());
  const auto attachment = state ? state->attachment(text) : Error::not_found("no attachment");
  if (!attachment)
    return Error::not_found("{} is neither the folder of a writable layer nor an attachment", text)
        .with_hint("`serve --writable=DIR` and `attach --writable=DIR` make such folders; dadi ps lists attachments");
  const attach::DeviceFolder device = state->device(attachment->device_id);
  DADI_TRY(const attach::DeviceSpec spec, device.spec());
  if (!spec.writable)
    return Error::invalid_argument("{} is attached read-only", text)
        .with_hint("attach it with --writable, and change something");
  DADI_TRY(const bool alive, device.alive());
  if (!alive) return Target{.folder = spec.writable->folder, .device = ""};
  DADI_TRY(const attach::DeviceState running, device.state());
  return Target{.folder = spec.writable->folder, .device = running.device, .control = device.control_path()};
}

Result<WritablePlace> place_of_folder(const std::filesystem::path& folder) {
  auto place = read_writable_place(folder);
  if (!place && place.error().code() == ErrorCode::kNotFound)
    return std::move(place).error().with_hint("what is committed was written by `serve` or `attach` --writable=DIR");
  return place;
}

// Nobody writes to it while this lives.
struct StandingDevice {
  ChangedDevice changed;
  std::optional<WritableUpper> upper;               // that this process has
  std::shared_ptr<const BlockReader> content = {};  // as it is in use
  WrittenState state = {};                          // of what is to be committed live
  std::optional<attach::FrozenMount> mount = {};    // of what a dadid has
};

Result<StandingDevice> open_folder(const std::filesystem::path& folder, const OpenImage& below, const Notes& note) {
  auto upper = WritableUpper::open({.folder = folder, .make = false}, below.device, note);
  if (!upper && upper.error().code() == ErrorCode::kBusy)
    return std::move(upper).error().with_hint("commit it by its name if it is attached, or stop what serves it");
  if (!upper) return std::move(upper).error();
  ChangedDevice changed{.device = upper->layers(), .written = upper->layers()->own_sectors()};
  return StandingDevice{.changed = std::move(changed), .upper = std::move(*upper)};
}

// Whether the folder's layers are still those, on that image: another commit may put them on its own.
Result<void> require_unmoved(const std::filesystem::path& folder, const WritablePlace& before) {
  DADI_TRY(const WritablePlace now, place_of_folder(folder));
  if (now.layers == before.layers && to_json(now.image) == to_json(before.image)) return {};
  return Error::busy("{} was committed by another at the same time", folder.string()).with_hint("commit it again");
}

Result<BlockLayer> open_written(const std::filesystem::path& folder, lsmt::SectorSet& written) {
  DADI_TRY(auto reader, read_writable_layer(folder / lsmt::kDataName, folder / lsmt::kIndexName)
                            .context("{}", folder.lexically_normal().string()));
  for (const lsmt::Segment& segment : reader.segments()) written.insert({segment.offset, segment.end()});
  SharedBlob blob = reader.blob();
  return BlockLayer{.name = "the writable layer",
                    .blob = std::move(blob),
                    .reader = std::move(reader),
                    .envelope = {},
                    .unwrapped = nullptr,
                    .zfile = {},
                    .descriptor = {},
                    .expected = {}};
}

// What is attached is read from the files of its layers, once everything is in them.
Result<StandingDevice> open_attached(Session& session, const Target& target, const WritablePlace& place,
                                     const ImagePlace& base, bool live) {
  const auto note = [](std::string_view) {};  // said when it was opened before
  DADI_TRY(FoundImage found, find_block_image(base.reference, base.platform, note, base.reach));
  DADI_TRY(BlockImage image, open_block_image(std::move(found), session.read_context()));
  StandingDevice standing{.changed = {}, .upper = {}};
  DADI_TRY(const dev_t number, attach::device_number(target.device));
  if (const auto points = attach::mount_points_of(number); !points.empty()) {
    DADI_TRY(auto mount, attach::FrozenMount::freeze(points.front()));
    standing.mount.emplace(std::move(mount));
  }
  DADI_CHECK(attach::sync_device(target.device));
  if (live) {
    DADI_TRY(standing.state, written_state(session, target.control));
  }
  DADI_CHECK(require_unmoved(target.folder, place));
  for (const std::string& name : place.layers) {
    auto layer = open_written(target.folder / name, standing.changed.written);
    if (!layer) DADI_CHECK(require_unmoved(target.folder, place));
    if (!layer) return std::move(layer).error();
    image.layers.push_back(std::move(*layer));
  }
  DADI_TRY(standing.content, stack(std::move(image.layers)));
  standing.changed.device = standing.content;
  if (standing.mount) {
    DADI_TRY(standing.changed.device, dadi::fs::UnmountedDevice::over(standing.content, session.read_context()));
    standing.changed.altered.insert(dadi::fs::UnmountedDevice::changed());
  }
  return standing;
}

Result<void> check_live(const Target& target, const oci::Reference& destination) {
  using Kind = oci::Reference::Kind;
  if (target.device.empty())
    return Error::invalid_argument("--live is for what is attached, which goes on in a fresh layer");
  if (destination.kind != Kind::kLayout && destination.kind != Kind::kRegistry)
    return Error::unsupported("--live goes on on top of DST, and an archive is replaced by what is written there next")
        .with_hint("DST can be a layout, as in oci:DIR:TAG, or on a registry");
  if (!is_utf8(destination.to_string())) return Error::unsupported("--live, to a DST that is no UTF-8");
  return {};
}

// While it lives nothing changes; what is written to it later must not be lost between image and layer.
Result<void> require_standing(const Target& target, const StandingDevice& standing) {
  if (!standing.mount)
    return Error::unsupported("{} is not mounted here, so it cannot be made to stand still for --live", target.device)
        .with_hint("commit it without --live, or mount it");
  return {};
}

// Where the image will be, for who opens it later.
ImagePlace new_place(const NewImage& image, const Digest& digest, const ImagePlace& base, registry::Access access) {
  ImageReach reach{.registry = std::move(access), .lazy = base.reach.lazy};
  return place_of(image.reference(), digest, base.platform, reach);
}

Result<void> commit(Session& session, const CommitCommand& command) {
  CommitOptions options{.message = command.message, .config = {}, .squash = command.squash};
  DADI_TRY(options.config, parse_config_changes(command.config));
  DADI_TRY(const Target target, find_target(command.target));
  DADI_TRY(const WritablePlace place, place_of_folder(target.folder));
  ImagePlace base = place.image;
  base.reach.registry.stop = session.stop();
  base.reach.lazy.replay = false;
  const auto note = [&session](std::string_view text) { session.note(text); };
  DADI_TRY(const OpenImage below,
           open_image_device(base.reference, base.platform, base.reach, {}, session.read_context(), note)
               .context("{}", base.reference.to_string()));
  if (command.live) {
    DADI_TRY(const oci::Reference to, oci::parse_reference(command.image.destination));
    DADI_CHECK(check_live(target, to));
  }
  const registry::Access access = registry_access(session, command.registry);
  DADI_TRY(NewImage image, NewImage::open(session, command.image, access, &base.reference));
  DADI_TRY(StandingDevice standing, target.device.empty() ? open_folder(target.folder, below, note)
                                                          : open_attached(session, target, place, base, command.live));
  if (command.live) DADI_CHECK(require_standing(target, standing));
  const WrittenDevice device{
      .control = target.control, .folder = target.folder, .content = standing.content, .state = standing.state};
  std::string fresh;  // "": none
  lsmt::Uuid top;
  const auto read = [&](const AllRead& all) -> Result<void> {
    if (command.live && all.layer) {
      top = *all.layer;
      DADI_TRY(fresh, go_on_in_fresh_layer(session, device, all).context("go on in a fresh layer"));
    }
    standing.mount.reset();
    return {};
  };
  DADI_TRY(const Digest digest, commit_layer(session, below, standing.changed, image, options, read));
  if (fresh.empty()) return {};
  return put_on_image(session, device, fresh, new_place(image, digest, place.image, access), top)
      .context("the image is there, but {} lies on the one before it still", target.folder.string());
}

}  // namespace

void add_commit(CommandLine& line, Session& session) {
  auto& options = session.keep<CommitCommand>();
  auto command = line.add("commit", "Make an image of what was written to one: a layer on top of its own",
                          "dadi commit changes oci:debian-changed\n"
                          "sudo dadi commit web oci:debian-web\n"
                          "dadi commit changes oci:debian-motd -m 'a new motd' --env LANG=C.UTF-8");
  command.argument("NAME|DIR", options.target,
                   "A writable attachment, or a writable layer's folder, as in --writable=DIR");
  add_new_image_options(command, options.image);
  command.option("-m,--message", options.message, "MESSAGE", "Why, for the layer and the image's history")
      .option("--squash", options.squash, "N", "Make one layer of the new one and the N topmost of the image");
  command.flag("--live", options.live, "Of what is attached: go on in a fresh layer, on top of the new image");
  add_config_options(command, options.config);
  add_registry_options(command, options.registry);
  command.run([&] { session.finish(commit(session, options).context("commit {}", options.target)); });
}

}  // namespace dadi
