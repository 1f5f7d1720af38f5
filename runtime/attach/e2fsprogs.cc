#include "runtime/attach/e2fsprogs.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <sstream>

#include "libformat/base/unique_fd.h"

namespace dadi::attach {
namespace {

constexpr std::size_t kLongestOutput = 64 << 10;  // bytes that are kept, of its end

}  // namespace

// Where a user's PATH may not lead.
Result<std::string> find_e2fsprogs(const std::string& name) {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(std::string(path != nullptr ? path : "") + ":/usr/local/sbin:/usr/sbin:/sbin");
  for (std::string program; std::getline(folders, program, ':');) {
    if (!program.starts_with('/')) continue;
    program.append("/").append(name);
    if (::access(program.c_str(), X_OK) == 0) return program;
  }
  return Error::host_lacks("{} is not installed", name);
}

std::string ProgramRun::last_line() const {
  std::istringstream lines(output);
  std::string last;
  for (std::string line; std::getline(lines, line);)
    if (!line.empty()) last = line;
  return last;
}

Result<ProgramRun> run_e2fsprogs(const std::string& program, std::vector<std::string> words) {
  std::array<int, 2> ends = {};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return Error::from_errno(errno, "make a pipe");
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  words.insert(words.begin(), program);
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), STDERR_FILENO);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, program.c_str(), &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return Error::from_errno(failed, "start " + program);
  theirs = UniqueFd();

  ProgramRun run;
  std::array<char, 4096> buffer;
  for (ssize_t n = 0; (n = ::read(ours.get(), buffer.data(), buffer.size())) > 0 || (n < 0 && errno == EINTR);) {
    if (n > 0) run.output.append(buffer.data(), static_cast<std::size_t>(n));
    if (run.output.size() > kLongestOutput) run.output.erase(0, run.output.size() - kLongestOutput);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  run.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return run;
}

}  // namespace dadi::attach
