#include "apps/dadi/attached.h"

#include <unistd.h>

#include <chrono>
#include <thread>

#include "apps/dadi/printable.h"
#include "apps/image/image_identity.h"

namespace dadi {

Json attachment_json(const attach::Listing& listing) {
  const attach::Attachment& attachment = listing.attachment;
  const bool running = listing.state == attach::Listing::State::kRunning;
  Json object = {{"name", attachment.name},
                 {"reference", as_utf8(attachment.reference)},
                 {"device", nullptr},
                 {"mount", nullptr},
                 {"pid", nullptr},
                 {"socket", nullptr},
                 {"read_only", true},
                 {"state", attach::name_of(listing.state)},
                 {"size", nullptr},
                 {"backend", nullptr},
                 {"attached", attachment.attached}};
  if (listing.spec && listing.spec->writable) {
    object["read_only"] = false;
    object["writable"] = as_utf8(listing.spec->writable->folder);
  }
  if (!attachment.mount.empty()) object["mount"] = as_utf8(attachment.mount);
  if (listing.device) {
    object["device"] = listing.device->device;
    object["size"] = listing.device->size.value;
    object["backend"] = listing.device->backend;
    if (!listing.device->metrics_address.empty()) object["metrics"] = listing.device->metrics_address;
  }
  if (running) {
    object["pid"] = listing.device->pid;
    object["socket"] = listing.control_socket;
  }
  return object;
}

// Beside this program, as in a build, or where it is installed: ../libexec/dadi.
Result<std::filesystem::path> find_dadid(const std::string& wanted) {
  std::error_code ignored;
  if (!wanted.empty()) return std::filesystem::absolute(wanted);
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path();
  for (const std::filesystem::path& path : {here / "dadid", here.parent_path() / "libexec/dadi/dadid"}) {
    if (std::filesystem::exists(path, ignored)) return path;
  }
  return Error::not_found("dadid is neither in {} nor in {}", here.string(),
                          (here.parent_path() / "libexec/dadi").string())
      .with_hint("--dadid FILE says where it is");
}

Result<void> detach_when_free(const attach::StateFolder& folder, const std::string& name) {
  constexpr std::chrono::seconds kPatience(10);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    const auto detached = attach::detach(folder, {.target = name, .lazy = false, .stop = {}});
    if (detached) return {};
    if (detached.error().code() != ErrorCode::kBusy || std::chrono::steady_clock::now() > end) return detached.error();
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

Result<ImageRequest> request_image(const Session& session, const oci::Reference& reference, const std::string& platform,
                                   ImageReach reach, const std::string& dadid, const Notes& notes) {
  ImageRequest request{.attach = {}, .name = {}, .reach = std::move(reach)};
  attach::AttachRequest& attach = request.attach;
  attach.note = notes;
  attach.stop = session.stop();
  DADI_TRY(attach.dadid, find_dadid(dadid));
  DADI_TRY(ImageIdentity identity, identify_image(reference, platform, notes, request.reach.registry));
  request.reach.registry.documents = std::move(identity.documents);
  request.name = std::move(identity.name);
  if (reference.kind == oci::Reference::Kind::kRegistry || !request.reach.on_top.empty())
    attach.spec.reach = to_json(request.reach);
  attach.reference = reference.to_string();
  attach.like_name = request.name;
  attach.spec.image = std::move(identity.content);
  attach.spec.reference = std::move(identity.reference);
  attach.spec.directory = std::filesystem::current_path().string();
  attach.spec.platform = platform;
  attach.spec.backend = "auto";
  attach.spec.memory = Bytes{32U << 20};
  return request;
}

Result<void> require_root(std::string_view what) {
  if (geteuid() == 0) return {};
  return Error::denied("{} takes root's rights", what).with_hint("sudo dadi …");
}

}  // namespace dadi
