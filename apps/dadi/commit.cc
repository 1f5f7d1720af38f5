// dadi commit NAME|DIR DST
#include <filesystem>
#include <optional>

#include "apps/dadi/commands.h"
#include "apps/dadi/commit_layer.h"
#include "apps/dadi/config_options.h"
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
  ConfigWords config;
  NewImageOptions image;
  RegistryOptions registry;
};

// What is to be committed: a folder of a writable layer, and the device that a dadid makes of it.
struct Target {
  std::filesystem::path folder;
  std::string device;  // "": it is not attached
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
  return Target{.folder = spec.writable->folder, .device = running.device};
}

Result<ImagePlace> place_of_image(const std::filesystem::path& folder) {
  auto place = image_below(folder);
  if (!place && place.error().code() == ErrorCode::kNotFound)
    return std::move(place).error().with_hint("what is committed was written by `serve` or `attach` --writable=DIR");
  return place;
}

// Nobody writes to it while this lives.
struct StandingDevice {
  ChangedDevice changed;
  std::optional<WritableUpper> upper;             // that this process has
  std::optional<attach::FrozenMount> mount = {};  // of what a dadid has
};

Result<StandingDevice> open_folder(const std::filesystem::path& folder, const OpenImage& below, const Notes& note) {
  auto upper = WritableUpper::open({.folder = folder, .make = false}, below.device, note);
  if (!upper && upper.error().code() == ErrorCode::kBusy)
    return std::move(upper).error().with_hint("commit it by its name if it is attached, or stop what serves it");
  if (!upper) return std::move(upper).error();
  ChangedDevice changed{.device = upper->layer(), .written = upper->layer()->own_sectors()};
  return StandingDevice{.changed = std::move(changed), .upper = std::move(*upper)};
}

// What is attached is read from the files of its layer, once everything is in them.
Result<StandingDevice> open_attached(Session& session, const Target& target, const ImagePlace& place) {
  const auto note = [](std::string_view) {};  // said when it was opened before
  DADI_TRY(FoundImage found, find_block_image(place.reference, place.platform, note, place.reach));
  DADI_TRY(BlockImage image, open_block_image(std::move(found), session.read_context()));
  StandingDevice standing{.changed = {}, .upper = {}};
  DADI_TRY(const dev_t number, attach::device_number(target.device));
  if (const auto points = attach::mount_points_of(number); !points.empty()) {
    DADI_TRY(auto mount, attach::FrozenMount::freeze(points.front()));
    standing.mount.emplace(std::move(mount));
  }
  DADI_CHECK(attach::sync_device(target.device));
  DADI_TRY(auto layer, read_writable_layer(target.folder / lsmt::kDataName, target.folder / lsmt::kIndexName)
                           .context("{}", target.folder.string()));
  for (const lsmt::Segment& segment : layer.segments())
    standing.changed.written.insert({segment.offset, segment.end()});
  SharedBlob blob = layer.blob();
  image.layers.push_back({.name = "the writable layer",
                          .blob = std::move(blob),
                          .reader = std::move(layer),
                          .envelope = {},
                          .unwrapped = nullptr,
                          .zfile = {},
                          .descriptor = {},
                          .expected = {}});
  DADI_TRY(standing.changed.device, stack(std::move(image.layers)));
  if (standing.mount) {
    DADI_TRY(standing.changed.device,
             dadi::fs::UnmountedDevice::over(std::move(standing.changed.device), session.read_context()));
  }
  return standing;
}

Result<void> commit(Session& session, const CommitCommand& command) {
  CommitOptions options{.message = command.message, .config = {}, .squash = command.squash};
  DADI_TRY(options.config, parse_config_changes(command.config));
  DADI_TRY(const Target target, find_target(command.target));
  DADI_TRY(ImagePlace place, place_of_image(target.folder));
  place.reach.registry.stop = session.stop();
  place.reach.lazy.replay = false;
  const auto note = [&session](std::string_view text) { session.note(text); };
  DADI_TRY(const OpenImage below,
           open_image_device(place.reference, place.platform, place.reach, {}, session.read_context(), note)
               .context("{}", place.reference.to_string()));
  DADI_TRY(NewImage image,
           NewImage::open(session, command.image, registry_access(session, command.registry), &place.reference));
  DADI_TRY(StandingDevice standing,
           target.device.empty() ? open_folder(target.folder, below, note) : open_attached(session, target, place));
  return commit_layer(session, below, standing.changed, image, options, [&] { standing.mount.reset(); });
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
  add_config_options(command, options.config);
  add_registry_options(command, options.registry);
  command.run([&] { session.finish(commit(session, options).context("commit {}", options.target)); });
}

}  // namespace dadi
