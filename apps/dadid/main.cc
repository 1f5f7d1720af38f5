// dadid: serves one image as a block device of this host. `dadi attach` starts it.

#include <fcntl.h>
#include <fmt/core.h>
#include <malloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <exception>
#include <future>
#include <optional>
#include <string>
#include <string_view>

#include "apps/dadid/daemon.h"
#include "apps/dadid/handover.h"
#include "apps/dadid/log.h"
#include "apps/dadid/memory_pressure.h"
#include "apps/dadid/resume.h"
#include "apps/dadid/served_image.h"
#include "apps/image/image_device.h"
#include "runtime/attach/control.h"
#include "runtime/attach/spawn.h"

namespace dadi {
namespace {

constexpr int kUnsupported = 8;  // as dadi's exit status: no use in trying again

Result<Bytes> size_of_device(const attach::DeviceFolder& folder) {
  DADI_TRY(const attach::DeviceSpec spec, folder.spec());
  if (::chdir(spec.directory.c_str()) != 0) return Error::from_errno(errno, spec.directory);
  DADI_TRY(const ImagePlace place, served_image(folder, spec));
  DADI_TRY(const auto image,
           open_image_device(place.reference, place.platform, place.reach, {}, {}, [](std::string_view) {}));
  if (spec.writable) {
    DADI_TRY(const Bytes size, size_of_layers(*spec.writable));
    if (size.value > 0) return size;
  }
  return to_bytes(image.device->size());
}

void prepare(const attach::DeviceFolder& folder, Log& log) {
  if (const auto spec = folder.spec()) withstand_memory_pressure(*spec, log);
}

// What attach waits for, on a pipe: one line.
void tell(const UniqueFd& ready, const Result<attach::DeviceState>& verdict) {
  const attach::Json json =
      verdict ? attach::to_json(*verdict) : attach::Json{{"error", attach::to_json(verdict.error())}};
  const std::string line = json.dump(-1, ' ', false, attach::Json::error_handler_t::replace) + '\n';
  static_cast<void>(::write(ready.get(), line.data(), line.size()) > 0);
}

int serve(Daemon& daemon, Log& log) {
  const auto served = daemon.run();
  if (!served) log.error(served.error().message());
  return served ? 0 : 1;
}

// With the descriptors that attach leaves to it, outside the control group of who attaches: a service manager's own
// processes stay where it put them.
int serve_for_attach(const attach::DeviceFolder& folder) {
  for (const int fd : {attach::kLockFd, attach::kControlFd, attach::kReadyFd}) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  Log log(folder.log_path());
  UniqueFd ready(attach::kReadyFd);
  prepare(folder, log);
  Daemon daemon(folder, attach::FileLock::adopt(UniqueFd(attach::kLockFd)), UniqueFd(attach::kControlFd), log);
  auto moved =
      std::async(std::launch::async, [id = folder.id()] { attach::leave_control_group("dadid-" + id + ".scope"); });
  const auto state = daemon.start();
  moved.wait();  // who attached may end with all of its control group
  tell(ready, state);
  ready = UniqueFd();
  if (!state) return 1;
  return serve(daemon, log);
}

// As a service: once the attachment's own dadid dies, in its place.
int resume(const std::string& name) {
  Log log("");
  auto orphan = wait_for_orphan(name);
  if (!orphan) {
    log.error(orphan.error().message());
    return orphan.error().code() == ErrorCode::kUnsupported ? kUnsupported : 1;
  }
  if (!*orphan) return 0;
  prepare((*orphan)->device, log);
  Daemon daemon((*orphan)->device, std::move((*orphan)->lock), std::move((*orphan)->control), log);
  if (const auto state = daemon.start(); !state) {
    log.error(state.error().message());
    return state.error().code() == ErrorCode::kUnsupported ? kUnsupported : 1;
  }
  return serve(daemon, log);
}

// In place of the program that executed this one; back to it if the device cannot be served.
int serve_in_place(const attach::DeviceFolder& folder, int descriptor) {
  Log log(folder.log_path());
  auto handover = receive_handover(descriptor);
  if (!handover) {
    log.error(handover.error().message());
    return 1;
  }
  prepare(folder, log);
  const auto copy = [](const UniqueFd& fd) { return UniqueFd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); };
  Daemon daemon(folder, attach::FileLock::adopt(copy(handover->lock)), copy(handover->control), log);
  if (auto state = daemon.resume(*handover); !state) {
    log.error("cannot go on: " + state.error().message());
    const Error failed = go_back(folder.path(), std::move(*handover), std::move(state.error()));
    log.error("nor go back: " + failed.message());
    return 1;
  }
  *handover = {};
  return serve(daemon, log);
}

// Whether this program could take the place of the one that serves the device: a line of JSON on stdout.
int check(const attach::DeviceFolder& folder) {
  const auto size = size_of_device(folder);
  const attach::Json json =
      size ? attach::Json{{"size", size->value}} : attach::Json{{"error", attach::to_json(size.error())}};
  fmt::print("{}\n", json.dump(-1, ' ', false, attach::Json::error_handler_t::replace));
  return size ? 0 : 1;
}

int run(int argc, const char* const* argv) {
  ::umask(077);
  mallopt(M_ARENA_MAX, 2);  // a device is one of hundreds
  if (argc == 3 && std::string_view(argv[1]) == "--started-by-attach") {
    return serve_for_attach(attach::DeviceFolder(argv[2]));
  }
  if (argc == 3 && std::string_view(argv[1]) == "--resume") return resume(argv[2]);
  if (argc == 4 && std::string_view(argv[1]) == "--in-place-of") {
    return serve_in_place(attach::DeviceFolder(argv[2]), std::atoi(argv[3]));
  }
  if (argc == 3 && std::string_view(argv[1]) == "--check-resume") return check(attach::DeviceFolder(argv[2]));
  fmt::print(stderr, "dadid serves one attached image; dadi attach starts it\n");
  return 2;
}

}  // namespace
}  // namespace dadi

int main(int argc, char** argv) {
  try {
    return dadi::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "dadid: {}\n", error.what());
    return 1;
  }
}
