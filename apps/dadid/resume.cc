#include "apps/dadid/resume.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/attach/backend.h"
#include "runtime/attach/control.h"

namespace dadi {
namespace {

constexpr int kMostStarting = 100;  // milliseconds between looks at a dadid that has no process id yet

// What to wait for, or the device itself.
struct Look {
  bool gone = false;
  UniqueFd living;  // the process, when it is known
  std::optional<Orphan> orphan;
};

Result<void> require_survival(const attach::DeviceFolder& device) {
  DADI_TRY(const attach::DeviceState state, device.state());
  DADI_TRY(const attach::Backend* const backend, attach::find_backend(state.backend));
  if (backend->survives) return {};
  return Error::unsupported("{} does not survive its dadid: the backend {} cannot", state.device, backend->name);
}

Result<Look> look(const attach::StateFolder& folder, const std::string& name) {
  DADI_TRY(const attach::FileLock lock, folder.lock());
  const auto attachment = folder.attachment(name);
  if (!attachment) return Look{.gone = true, .living = {}, .orphan = {}};
  attach::DeviceFolder device = folder.device(attachment->device_id);
  DADI_CHECK(require_survival(device).context("{}", name));
  DADI_TRY(auto taken, attach::FileLock::try_take(device.lock_path()));
  if (!taken) {
    const pid_t pid = device.pid();
    return Look{.gone = false,
                .living = UniqueFd(pid > 0 ? static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)) : -1),
                .orphan = {}};
  }
  DADI_TRY(UniqueFd control, attach::listen_on(device.control_path()));
  return Look{.gone = false, .living = {}, .orphan = Orphan{std::move(device), std::move(*taken), std::move(control)}};
}

}  // namespace

Result<std::optional<Orphan>> wait_for_orphan(const std::string& name) {
  DADI_TRY(const auto folder, attach::StateFolder::find());
  if (!folder || !folder->attachment(name)) return Error::not_found("nothing is attached as {}", name);
  for (;;) {
    DADI_TRY(Look found, look(*folder, name));
    if (found.gone) return std::optional<Orphan>();
    if (found.orphan) return std::move(found.orphan);
    pollfd entry{.fd = found.living.get(), .events = POLLIN, .revents = 0};
    ::poll(&entry, 1, found.living ? -1 : kMostStarting);
  }
}

}  // namespace dadi
