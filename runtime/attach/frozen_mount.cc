#include "runtime/attach/frozen_mount.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <utility>

namespace dadi::attach {
namespace {

// All files but two are closed: a pipe that somebody waits for may be among them.
void close_others(int one, int other) {
  const auto low = static_cast<unsigned>(std::min(one, other));
  const auto high = static_cast<unsigned>(std::max(one, other));
  if (low > 0) ::close_range(0, low - 1, 0);
  if (low + 1 < high) ::close_range(low + 1, high - 1, 0);
  ::close_range(high + 1, ~0U, 0);
}

// In the child of a program with threads: system calls alone.
[[noreturn]] void keep_frozen(int root, int other) {
  ::setsid();  // what ends the caller's group, like Ctrl-C, does not end it
  ::prctl(PR_SET_NAME, "dadi-frozen");
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  close_others(root, other);
  const int failed = ::ioctl(root, FIFREEZE, 0) == 0 ? 0 : errno;
  (void)!::send(other, &failed, sizeof failed, MSG_NOSIGNAL);
  char nothing;
  while (failed == 0 && ::read(other, &nothing, 1) < 0 && errno == EINTR) continue;
  if (failed == 0) ::ioctl(root, FITHAW, 0);
  ::_exit(0);
}

}  // namespace

Result<FrozenMount> FrozenMount::freeze(const std::filesystem::path& point) {
  const UniqueFd root(::open(point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return Error::from_errno(errno, "open " + point.string());
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return Error::from_errno(errno, "socketpair");
  UniqueFd mine(ends[0]);
  UniqueFd its(ends[1]);
  const pid_t keeper = ::fork();
  if (keeper < 0) return Error::from_errno(errno, "fork");
  if (keeper == 0) keep_frozen(root.get(), its.get());
  its = UniqueFd();
  FrozenMount mount(std::move(mine), keeper);
  int failed = EIO;  // if it was killed before it could tell
  while (::recv(mount.alive_.get(), &failed, sizeof failed, MSG_WAITALL) < 0 && errno == EINTR) continue;
  if (failed != 0) return Error::from_errno(failed, "freeze " + point.string());
  return mount;
}

FrozenMount::FrozenMount(FrozenMount&& other) noexcept
    : alive_(std::move(other.alive_)), keeper_(std::exchange(other.keeper_, -1)) {}

FrozenMount::~FrozenMount() {
  if (keeper_ < 0) return;
  alive_ = UniqueFd();
  while (::waitpid(keeper_, nullptr, 0) < 0 && errno == EINTR) continue;
}

}  // namespace dadi::attach
