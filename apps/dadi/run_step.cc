#include "apps/dadi/run_step.h"

#include <chrono>

#include "apps/dadi/attached.h"
#include "apps/dadi/child_command.h"
#include "apps/dadi/commit_layer.h"
#include "apps/dadi/container_config.h"
#include "apps/dadi/exit_code.h"
#include "apps/image/writable_upper.h"
#include "libfs/ext4/mount_marks.h"

namespace dadi {
namespace {

constexpr auto kLook = std::chrono::milliseconds(50);  // between looks whether to stop

Result<attach::AttachRequest> attach_request(Session& session, const ImagePlace& place, const RunStep& step,
                                             const std::filesystem::path& mount, const std::filesystem::path& changes) {
  DADI_TRY(ImageRequest image,
           request_image(session, place.reference, place.platform, place.reach, step.dadid, [](std::string_view) {}));
  attach::AttachRequest& request = image.attach;
  request.like_name = image.name + "-building";
  request.mount = mount;
  // Times of reading would be changes, as would be what was deleted again; zeros of inode tables need not be written.
  DADI_TRY(request.mount_options, attach::MountOptions::parse("noatime,discard,noinit_itable", /*writable=*/true));
  request.spec.writable = attach::WritableSpec{.folder = changes.string(), .limit = {}, .form = "append"};
  return std::move(image.attach);
}

Result<void> run_inside(const Session& session, const std::filesystem::path& root, const oci::ImageConfig& config,
                        const RunStep& step) {
  Containment containment;
  containment.root = root.string();
  containment.words = {"/bin/sh", "-c", step.command};
  containment.host_network = step.host_network;
  containment.output_to_stderr = true;
  containment.no_input = true;
  take_config(config.json(), containment);
  DADI_TRY(ContainedCommand command, ContainedCommand::start(containment));
  while (!has_ended(command.fd(), kLook)) {
    if (!session.stop().stop_requested()) continue;
    command.end();
    return Error::cancelled("stopped");
  }
  const int status = command.wait();
  if (session.stop().stop_requested()) return Error::cancelled("stopped");
  if (status == 0) return {};
  if (status > kExitSignalBase) return Error::io("the command was ended by signal {}", status - kExitSignalBase);
  return Error::io("the command ended with exit status {}", status);
}

// Nothing of it is to stay: what still uses the device after a while has it taken away.
Result<void> detach_always(const attach::StateFolder& folder, const std::string& name) {
  auto detached = detach_when_free(folder, name);
  if (!detached) static_cast<void>(attach::detach(folder, {.target = name, .lazy = true, .stop = {}}).has_value());
  return detached;
}

// Leaves what the command has written in the folder `changes`.
Result<void> run_attached(Session& session, const ImageSoFar& image, const oci::ImageConfig& config,
                          const RunStep& step, const std::filesystem::path& changes) {
  DADI_TRY(const MountFolder own, MountFolder::make("dadi-build"));
  DADI_TRY(const attach::AttachRequest request,
           attach_request(session, image.place(), step, own.mount_point(), changes));
  DADI_TRY(const auto folder, attach::StateFolder::open());
  DADI_TRY(const attach::Listing listing, attach::attach(folder, request));
  auto ran = run_inside(session, own.mount_point(), config, step);
  auto detached = detach_always(folder, listing.attachment.name);
  if (!ran) return ran;
  return detached;
}

Result<OpenImage> open_below(Session& session, const ImagePlace& place) {
  ImageReach reach = place.reach;
  reach.registry.stop = session.stop();
  reach.lazy.replay = false;
  const auto note = [](std::string_view) {};  // said when it was opened before
  return open_image_device(place.reference, place.platform, reach, {}, session.read_context(), note);
}

// What the writable layer in the folder `changes` holds differently than the image below it.
Result<std::optional<pipeline::DeviceLayer>> layer_of_changes(Session& session, const OpenImage& below,
                                                              const std::filesystem::path& changes,
                                                              pipeline::DeviceLayerOptions options,
                                                              oci::ImageDestination& destination,
                                                              pipeline::CompressionWorkers& workers) {
  DADI_TRY(const WritableUpper upper,
           WritableUpper::open({.folder = changes.string(), .make = false}, below.device, [](std::string_view) {}));
  lsmt::WritableStack& layer = *upper.layers();
  DADI_CHECK(dadi::fs::forget_mount(*below.device, layer, layer, session.read_context()));
  DADI_CHECK(require_clean(layer, session.read_context()));
  const lsmt::SectorSet own = layer.own_sectors();
  const auto comparing = session.progress().start("comparing", to_bytes(own.sectors()));
  DADI_TRY(const auto found, pipeline::DeviceChanges::find(layer, below.device.get(), own, session.read_context(),
                                                           [&](Bytes done) { comparing->set_done(done); }));
  comparing->finish();
  if (found.empty()) return std::optional<pipeline::DeviceLayer>();
  options.parent = below.device->top().uuid;
  const auto writing = session.progress().start("writing", found.data());
  DADI_TRY(auto written,
           pipeline::write_device_layer(layer, found, options, destination, workers, session.read_context(),
                                        [&](Bytes done) { writing->set_done(done); }));
  writing->finish();
  return std::optional(std::move(written));
}

}  // namespace

Result<std::optional<pipeline::DeviceLayer>> run_step(Session& session, const ImageSoFar& image,
                                                      const oci::ImageConfig& config, const RunStep& step,
                                                      oci::Family family, oci::ImageDestination& destination,
                                                      pipeline::CompressionWorkers& workers) {
  const std::filesystem::path changes = image.scratch();
  DADI_CHECK(run_attached(session, image, config, step, changes));
  DADI_TRY(const OpenImage below, open_below(session, image.place()));
  auto layer =
      layer_of_changes(session, below, changes, {.message = step.message, .family = family}, destination, workers);
  std::error_code ignored;
  std::filesystem::remove_all(changes, ignored);
  return layer;
}

}  // namespace dadi
