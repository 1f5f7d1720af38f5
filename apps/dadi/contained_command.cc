#include "apps/dadi/contained_command.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>

#include "apps/dadi/child_command.h"
#include "apps/dadi/exit_code.h"

namespace dadi {
namespace {

// Between clone and exec only what is safe in the child of a program with threads: system calls, and memory that was
// prepared before.
struct Prepared {
  const char* root;
  const char* directory;
  char* const* words;
  char** environment;
  bool host_network;
  bool output_to_stderr;
  bool no_input;
  int report;
};

// What went wrong before the command ran.
struct Report {
  enum Step : int { kRoot, kSystem, kDirectory, kStart } step;
  int number;
};

// What a root in a container may do that a device, a mount or another's process is not touched by.
constexpr unsigned kKeptCapabilities[] = {CAP_CHOWN,       CAP_DAC_OVERRIDE, CAP_FOWNER,  CAP_FSETID,
                                          CAP_KILL,        CAP_SETGID,       CAP_SETUID,  CAP_SETPCAP,
                                          CAP_AUDIT_WRITE, CAP_SETFCAP,      CAP_NET_RAW, CAP_NET_BIND_SERVICE};

pid_t clone_process(std::uint64_t flags, int* pidfd) {
  clone_args arguments{};
  arguments.flags = flags | (pidfd != nullptr ? CLONE_PIDFD : 0U);
  arguments.pidfd = reinterpret_cast<std::uint64_t>(pidfd);
  arguments.exit_signal = SIGCHLD;
  return static_cast<pid_t>(::syscall(SYS_clone3, &arguments, sizeof arguments));
}

[[noreturn]] void fail(const Prepared& prepared, Report::Step step) {
  const Report report{step, errno};
  (void)!::write(prepared.report, &report, sizeof report);
  ::_exit(127);
}

void make_devices() {
  struct Device {
    const char* path;
    unsigned minor;
  };
  constexpr Device kDevices[] = {
      {"/dev/null", 3}, {"/dev/zero", 5}, {"/dev/full", 7}, {"/dev/random", 8}, {"/dev/urandom", 9}};
  if (::mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=0755,size=1m") != 0) return;
  for (const Device& device : kDevices) (void)!::mknod(device.path, S_IFCHR | 0666, ::makedev(1, device.minor));
  (void)!::symlink("/proc/self/fd", "/dev/fd");
  (void)!::symlink("/proc/self/fd/0", "/dev/stdin");
  (void)!::symlink("/proc/self/fd/1", "/dev/stdout");
  (void)!::symlink("/proc/self/fd/2", "/dev/stderr");
  if (::mkdir("/dev/shm", 01777) == 0)
    ::mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777");
}

// What in /proc is the whole system's, and root's to write, like core_pattern, which names a program of the host.
constexpr const char* kReadOnlyPaths[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
// What tells of the whole system, or of its memory.
constexpr const char* kHiddenFiles[] = {"/proc/kcore",         "/proc/keys",        "/proc/kmsg",
                                        "/proc/latency_stats", "/proc/sched_debug", "/proc/timer_list"};
constexpr const char* kHiddenFolders[] = {"/proc/acpi", "/proc/asound", "/proc/scsi"};

// False: it could not, and the path is there.
bool cover(const char* path, const char* source, const char* type, unsigned long flags) {
  if (::mount(source, path, type, flags, nullptr) == 0) return true;
  return errno == ENOENT;
}

// REQUIRES: /proc is mounted. False: it stays the command's to write.
bool protect_system() {
  constexpr unsigned long kHarmless = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  for (const char* path : kReadOnlyPaths) {
    if (!cover(path, path, nullptr, MS_BIND | MS_REC)) return false;
    if (!cover(path, nullptr, nullptr, MS_BIND | MS_REMOUNT | MS_RDONLY | kHarmless)) return false;
  }
  for (const char* path : kHiddenFiles) {
    if (!cover(path, "/dev/null", nullptr, MS_BIND)) return false;
  }
  for (const char* path : kHiddenFolders) {
    if (!cover(path, "tmpfs", "tmpfs", MS_RDONLY | kHarmless)) return false;
  }
  return true;
}

// Inside, where no link leads out. What cannot be mounted, since there is no folder for it, is done without. False:
// /proc would let the command reach out.
bool furnish() {
  ::umask(0);
  for (const char* folder : {"/tmp", "/var/tmp"}) ::mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  ::mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755");
  make_devices();
  ::umask(022);
  return ::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0 || protect_system();
}

void start_loopback() {
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP;
  if (socket >= 0) (void)!::ioctl(socket, SIOCSIFFLAGS, &request);
  ::close(socket);
}

void drop_capabilities() {
  for (unsigned capability = 0; ::prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability) {
    bool kept = false;
    for (const unsigned one : kKeptCapabilities) kept = kept || one == capability;
    if (!kept) ::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  }
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

// By a pipe that nobody writes to: the image need not have a /dev/null.
void replace_input() {
  int pipe[2];
  ::close(STDIN_FILENO);
  if (::pipe2(pipe, O_CLOEXEC) != 0) return;
  ::close(pipe[1]);
  if (pipe[0] != STDIN_FILENO) ::dup2(pipe[0], STDIN_FILENO);
  ::fcntl(STDIN_FILENO, F_SETFD, 0);
}

[[noreturn]] void run_command(const Prepared& prepared) {
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);  // dadi ignores it
  if (prepared.no_input) replace_input();
  if (prepared.output_to_stderr) ::dup2(STDERR_FILENO, STDOUT_FILENO);
  if (::chdir(prepared.directory) != 0) fail(prepared, Report::kDirectory);
  drop_capabilities();
  ::environ = prepared.environment;
  ::execvp(prepared.words[0], prepared.words);
  fail(prepared, Report::kStart);
}

int exit_status_of(int status) {
  return WIFSIGNALED(status) ? kExitSignalBase + WTERMSIG(status) : WEXITSTATUS(status);
}

// The first process of the namespaces: with it all others end. It passes SIGTERM on, which would not end it.
[[noreturn]] void run_first_process(const Prepared& prepared) {
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a dadi that is killed leaves nothing running
  if (!prepared.host_network) start_loopback();
  // Mounts below the root are this one's alone.
  ::mount(nullptr, prepared.root, nullptr, MS_REC | MS_PRIVATE, nullptr);
  if (::chroot(prepared.root) != 0 || ::chdir("/") != 0) fail(prepared, Report::kRoot);
  if (!furnish()) fail(prepared, Report::kSystem);
  const pid_t command = clone_process(0, nullptr);
  if (command < 0) fail(prepared, Report::kStart);
  if (command == 0) run_command(prepared);
  ::close(prepared.report);
  sigset_t heard;
  sigemptyset(&heard);
  sigaddset(&heard, SIGTERM);
  sigaddset(&heard, SIGCHLD);
  while (true) {
    const int number = ::sigwaitinfo(&heard, nullptr);
    if (number == SIGTERM) ::kill(command, SIGTERM);
    int status = 0;
    for (pid_t ended = 0; number == SIGCHLD && (ended = ::waitpid(-1, &status, WNOHANG)) > 0;)
      if (ended == command) ::_exit(exit_status_of(status));
  }
}

std::vector<char*> pointers_of(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

Error error_of(const Report& report, const Containment& containment) {
  switch (report.step) {
    case Report::kRoot:
      return Error::from_errno(report.number, fmt::format("chroot {}", containment.root));
    case Report::kSystem:
      return Error::from_errno(report.number, "make /proc read-only");
    case Report::kDirectory:
      return Error::from_errno(report.number, fmt::format("in the image: {}", containment.directory));
    case Report::kStart:
      break;
  }
  return Error::from_errno(report.number, fmt::format("in the image: {}", containment.words.front()));
}

}  // namespace

Result<ContainedCommand> ContainedCommand::start(const Containment& containment) {
  std::vector<std::string> words = containment.words;
  std::vector<std::string> environment = containment.environment;
  const std::vector<char*> word_pointers = pointers_of(words);
  std::vector<char*> environment_pointers = pointers_of(environment);
  int pipe[2];
  if (::pipe2(pipe, O_CLOEXEC) != 0) return Error::from_errno(errno, "pipe");
  const UniqueFd reports(pipe[0]);
  UniqueFd reporting(pipe[1]);
  const Prepared prepared{
      containment.root.c_str(), containment.directory.c_str(), word_pointers.data(), environment_pointers.data(),
      containment.host_network, containment.output_to_stderr,  containment.no_input, reporting.get()};
  const std::uint64_t network = containment.host_network ? 0U : std::uint64_t{CLONE_NEWNET};
  int pidfd = -1;
  const pid_t pid = clone_process(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | network, &pidfd);
  if (pid == 0) run_first_process(prepared);
  if (pid < 0) return Error::host_lacks("namespaces: {}", std::strerror(errno));
  ContainedCommand command(pid, UniqueFd(pidfd));
  reporting = UniqueFd();
  Report report{};
  if (::read(reports.get(), &report, sizeof report) != sizeof report) return command;  // exec has closed it
  command.kill();
  command.wait();
  return error_of(report, containment);
}

void ContainedCommand::terminate() const {
  ::kill(pid_, SIGTERM);
}

void ContainedCommand::kill() const {
  ::kill(pid_, SIGKILL);
}

void ContainedCommand::end() {
  constexpr std::chrono::seconds kGrace(5);
  terminate();
  if (!has_ended(fd(), kGrace)) kill();
  wait();
}

int ContainedCommand::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
  return exit_status_of(status);
}

}  // namespace dadi
