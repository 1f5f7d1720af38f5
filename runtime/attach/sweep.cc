#include "runtime/attach/sweep.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "runtime/attach/backend.h"
#include "runtime/attach/control.h"

namespace dadi::attach {
namespace {

constexpr std::chrono::seconds kToAnswer(10);
constexpr std::chrono::seconds kToEnd(10);
constexpr std::chrono::seconds kToDie(2);
constexpr std::chrono::milliseconds kLookForSignature(2);

UniqueFd process_of(pid_t pid) {
  return UniqueFd(pid > 0 ? static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)) : -1);
}

void signal(const UniqueFd& process, int number) {
  if (process) ::syscall(SYS_pidfd_send_signal, process.get(), number, nullptr, 0);
}

// The process behind a device. One that was only just started has not signed its lock yet: it is waited for.
Result<UniqueFd> living_process_of(const DeviceFolder& device) {
  const auto end = std::chrono::steady_clock::now() + kToEnd;
  for (;;) {
    if (const pid_t pid = device.pid(); pid > 0) return process_of(pid);
    DADI_TRY(const bool alive, device.alive());
    if (!alive || std::chrono::steady_clock::now() > end) return UniqueFd();
    std::this_thread::sleep_for(kLookForSignature);
  }
}

bool has_ended(const UniqueFd& process, std::chrono::milliseconds time) {
  return !process || wait_for(process.get(), POLLIN, Patience::of(time)).has_value();
}

// Removes from the host what belongs to a device that is dead, or about to be. Errors: busy, io.
Result<void> clean_up_host(const std::optional<DeviceState>& state) {
  if (!state || state->boot != boot_id()) return {};
  const auto backend = find_backend(state->backend);
  return backend ? (*backend)->clean_up(state->backend_state) : Result<void>();
}

// Waits for the end of a process that said it would; one that does not is ended, and where it hangs in a read of its
// own device, that read.
void wait_for_end(const UniqueFd& process, const std::optional<DeviceState>& state) {
  if (has_ended(process, kToEnd)) return;
  signal(process, SIGKILL);
  if (has_ended(process, kToDie)) return;
  static_cast<void>(clean_up_host(state).has_value());
  has_ended(process, kToDie);
}

// Whether a dadid that answers so to being told to stop has not done it.
bool goes_on(ErrorCode code) {
  return code == ErrorCode::kBusy || code == ErrorCode::kExhausted || code == ErrorCode::kIo;
}

bool is_of_another_boot(const DeviceFolder& device) {
  const auto state = device.state();
  return state && state->boot != boot_id();
}

void sweep_device(const StateFolder& folder, const DeviceFolder& device) {
  const auto alive = device.alive();
  if (!alive) return;
  const std::vector<Attachment> attachments = folder.attachments_of(device.id());
  if (*alive) {
    // What is let go lazily has no attachments and an end of its own.
    if (attachments.empty()) static_cast<void>(end_device(device, /*lazy=*/true).has_value());
    return;
  }
  const bool never_was = !device.state();
  if (!attachments.empty() && !never_was && !is_of_another_boot(device)) return;
  for (const Attachment& attachment : attachments) static_cast<void>(folder.remove(attachment).has_value());
  static_cast<void>(clean_up(device).has_value());
}

}  // namespace

void sweep(const StateFolder& folder) {
  folder.remove_half_written();
  for (const DeviceFolder& device : folder.devices()) sweep_device(folder, device);
  for (const Attachment& attachment : folder.attachments()) {
    if (!folder.device(attachment.device_id).exists()) static_cast<void>(folder.remove(attachment).has_value());
  }
}

Result<void> give_up(const DeviceFolder& device) {
  const auto state = device.known_state();
  if (!state || state->boot != boot_id()) return {};
  const auto backend = find_backend(state->backend);
  return backend && (*backend)->give_up != nullptr ? (*backend)->give_up(state->backend_state) : Result<void>();
}

Result<void> clean_up(const DeviceFolder& device) {
  auto done = clean_up_host(device.known_state());
  // Busy: somebody has it mounted by himself, and it goes when he lets it go.
  if (!done && done.error().code() != ErrorCode::kBusy) return done;
  return device.remove();
}

Result<void> end_device(const DeviceFolder& device, bool lazy) {
  DADI_TRY(const UniqueFd process, living_process_of(device));
  const std::optional<DeviceState> state = device.known_state();
  if (!state) {
    signal(process, SIGTERM);  // it is still starting, and hears nothing else
  } else {
    const auto answer = ask(device.control_path(), {{"request", "stop"}, {"lazy", lazy}}, Patience::of(kToAnswer));
    if (!answer && goes_on(answer.error().code())) return answer.error();
    if (answer && answer->value("later", false)) return {};
  }
  wait_for_end(process, state);
  DADI_TRY(const bool alive, device.alive());
  if (alive) return Error::busy("dadid of device {} does not end", device.id());
  return clean_up(device);
}

}  // namespace dadi::attach
