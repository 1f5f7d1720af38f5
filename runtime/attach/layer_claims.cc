#include "runtime/attach/layer_claims.h"

#include "runtime/attach/backend.h"

namespace dadi::attach {
namespace {

// Whether a dead device may go on one day.
bool may_go_on(const DeviceFolder& device) {
  const auto state = device.known_state();
  if (!state) return false;
  const auto backend = find_backend(state->backend);
  return backend && (*backend)->survives;
}

std::string user_of(const StateFolder& folder, const DeviceFolder& device) {
  const auto attachments = folder.attachments_of(device.id());
  return attachments.empty() ? "" : attachments.front().name;
}

}  // namespace

Result<void> require_free_layer(const StateFolder& folder, const DeviceSpec& wanted) {
  if (!wanted.writable) return {};
  for (const DeviceFolder& device : folder.devices()) {
    const auto spec = device.spec();
    if (!spec || !spec->writable || spec->writable->folder != wanted.writable->folder) continue;
    DADI_TRY(const bool alive, device.alive());
    if (!alive && !may_go_on(device)) continue;
    const std::string user = user_of(folder, device);
    const Error busy = Error::busy("{} is the writable layer of {}", spec->writable->folder,
                                   user.empty() ? "a device that is in use still" : user);
    return user.empty() ? busy : Error(busy).with_hint("dadi detach {}, or another folder", user);
  }
  return {};
}

Result<void> require_same_layer(const Attachment& dead, const DeviceSpec& before, const DeviceSpec& wanted) {
  if (!before.writable && !wanted.writable) return {};
  if (!before.writable)
    return Error::busy("{} is read-only, and its dadid died", dead.name)
        .with_hint("dadi detach {}, or another --name", dead.name);
  const bool same =
      wanted.writable &&
      (before.writable->temporary ? wanted.writable->temporary : wanted.writable->folder == before.writable->folder);
  if (same) return {};
  return Error::busy("{} has a writable layer in {}, and its dadid died", dead.name, before.writable->folder)
      .with_hint("attach it with --writable{}, or give up on it: dadi detach {}",
                 before.writable->temporary ? "" : "=" + before.writable->folder, dead.name);
}

}  // namespace dadi::attach
