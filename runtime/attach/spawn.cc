#include "runtime/attach/spawn.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <fstream>
#include <sstream>

extern char** environ;

namespace dadi::attach {
namespace {

constexpr int kAboveInherited = 16;

// Words as execve() wants them.
class Words {
 public:
  explicit Words(std::vector<std::string> words) : words_(std::move(words)) {
    for (std::string& word : words_) pointers_.push_back(word.data());
    pointers_.push_back(nullptr);
  }
  char* const* data() { return pointers_.data(); }

 private:
  std::vector<std::string> words_;
  std::vector<char*> pointers_;
};

// What the new process starts with: no signals blocked or ignored, its own session, and the descriptors it is given.
class SpawnPlan {
 public:
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions_);
    posix_spawnattr_init(&attributes_);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    sigset_t none;
    sigemptyset(&none);
    posix_spawnattr_setsigmask(&attributes_, &none);
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigdefault(&attributes_, &all);
    posix_spawn_file_actions_addopen(&actions_, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions_, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  void write_stderr_to(const std::filesystem::path& file) {
    posix_spawn_file_actions_addopen(&actions_, STDERR_FILENO, file.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  }
  // Copies lie above all targets, so that no target is overwritten before it was copied.
  Result<void> inherit(int fd, int target) {
    UniqueFd copy(::fcntl(fd, F_DUPFD_CLOEXEC, kAboveInherited));
    if (!copy) return Error::from_errno(errno, "duplicate a descriptor");
    posix_spawn_file_actions_adddup2(&actions_, copy.get(), target);
    copies_.push_back(std::move(copy));
    return {};
  }
  Result<pid_t> run(const std::filesystem::path& program, Words words) {
    pid_t pid = 0;
    const int number = posix_spawn(&pid, program.c_str(), &actions_, &attributes_, words.data(), environ);
    if (number != 0) return Error::from_errno(number, "start " + program.string());
    return pid;
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
  std::vector<UniqueFd> copies_;
};

bool systemd_runs() {
  struct stat info {};
  return ::stat("/run/systemd/system", &info) == 0;
}

// Asks systemd to put this process into a scope. False when it did not.
bool enter_scope(const std::string& name) {
  SpawnPlan plan;
  plan.write_stderr_to("/dev/null");
  const auto pid =
      plan.run("/usr/bin/busctl",
               Words({"busctl", "call", "--quiet", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                      "org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail", "2",
                      "PIDs", "au", "1", std::to_string(::getpid()), "CollectMode", "s", "inactive-or-failed", "0"}));
  int status = 0;
  return pid && ::waitpid(*pid, &status, 0) == *pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void enter_topmost_groups() {
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    if (line.find(" - cgroup") == std::string::npos) continue;
    std::istringstream fields(line);
    std::string id, parent, number, root, point;
    fields >> id >> parent >> number >> root >> point;
    std::ofstream(point + "/cgroup.procs") << "0\n";
  }
}

}  // namespace

Result<pid_t> spawn_daemon(const std::filesystem::path& program, const std::vector<std::string>& arguments,
                           const std::vector<int>& descriptors, const std::filesystem::path& log) {
  SpawnPlan plan;
  plan.write_stderr_to(log);
  for (std::size_t i = 0; i < descriptors.size(); ++i) {
    DADI_CHECK(plan.inherit(descriptors[i], kFirstInherited + static_cast<int>(i)));
  }
  std::vector<std::string> words = {program.filename().string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return plan.run(program, Words(std::move(words)));
}

void leave_control_group(const std::string& scope) {
  if (systemd_runs() && enter_scope(scope)) return;
  enter_topmost_groups();
}

}  // namespace dadi::attach
