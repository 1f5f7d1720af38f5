#include "apps/dadi/child_command.h"

#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string_view>

#include "apps/dadi/exit_code.h"

extern char** environ;  // NOLINT(readability-redundant-declaration): POSIX wants it declared

namespace dadi {
namespace {

Result<UniqueFd> open_process(pid_t pid) {
  UniqueFd process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!process) return Error::host_lacks("pidfd_open: a kernel of version 5.3 or later is needed");
  return process;
}

std::vector<std::string> environment_with(const std::vector<std::pair<std::string, std::string>>& variables) {
  std::vector<std::string> all;
  for (const auto& [name, value] : variables) all.push_back(name + "=" + value);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::string_view name = text.substr(0, text.find('='));
    if (name != "NOTIFY_SOCKET" &&
        std::ranges::find(variables, name, [](const auto& v) { return std::string_view(v.first); }) == variables.end())
      all.emplace_back(text);
  }
  return all;
}

}  // namespace

Result<ChildCommand> ChildCommand::start(const std::string& text,
                                         const std::vector<std::pair<std::string, std::string>>& variables) {
  std::vector<std::string> environment = environment_with(variables);
  std::vector<char*> pointers;
  for (std::string& entry : environment) pointers.push_back(entry.data());
  pointers.push_back(nullptr);
  std::vector<std::string> words = {"sh", "-c", text};
  char* arguments[] = {words[0].data(), words[1].data(), words[2].data(), nullptr};

  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigset_t usual;
  sigemptyset(&none);
  sigemptyset(&usual);
  sigaddset(&usual, SIGPIPE);  // dadi ignores it
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &usual);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, "/bin/sh", nullptr, &attributes, arguments, pointers.data());
  posix_spawnattr_destroy(&attributes);
  if (failed != 0) return Error::from_errno(failed, "/bin/sh");
  DADI_TRY(UniqueFd process, open_process(pid));
  return ChildCommand(pid, std::move(process));
}

void ChildCommand::terminate() const {
  ::kill(pid_, SIGTERM);
}

int ChildCommand::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
  return WIFSIGNALED(status) ? kExitSignalBase + WTERMSIG(status) : WEXITSTATUS(status);
}

bool has_ended(int pidfd, std::chrono::milliseconds wait) {
  pollfd waiting{pidfd, POLLIN, 0};
  return ::poll(&waiting, 1, static_cast<int>(wait.count())) > 0;
}

Result<UniqueFd> parent_process() {
  return open_process(::getppid());
}

}  // namespace dadi
