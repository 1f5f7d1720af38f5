#include "runtime/attach/repair.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <sstream>
#include <vector>

#include "libformat/base/endian.h"
#include "libformat/base/unique_fd.h"

extern char** environ;

namespace dadi::attach {
namespace {

constexpr off_t kSuperblock = 1024;
constexpr std::size_t kSuperblockSize = 1024;
constexpr std::size_t kMagic = 56;  // offsets in it
constexpr std::size_t kState = 58;
constexpr std::size_t kIncompatible = 96;
constexpr std::uint16_t kMagicOfExt4 = 0xef53;
constexpr std::uint16_t kUnmounted = 1;           // of the state
constexpr std::uint16_t kFaulty = 2;              //
constexpr std::uint32_t kJournalInUse = 1U << 2;  // of the incompatible features: mounted, or not unmounted

constexpr std::size_t kLongestOutput = 64 << 10;  // bytes that are kept, of its end

Result<bool> is_unclean(const std::string& device) {
  const UniqueFd fd(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(errno, "open " + device);
  std::array<std::byte, kSuperblockSize> block;
  const ssize_t n = ::pread(fd.get(), block.data(), block.size(), kSuperblock);
  if (n < 0) return Error::from_errno(errno, "read " + device);
  if (n != kSuperblockSize || load_le<std::uint16_t>(block, kMagic) != kMagicOfExt4) return false;
  const auto state = load_le<std::uint16_t>(block, kState);
  return (state & kUnmounted) == 0 || (state & kFaulty) != 0 ||
         (load_le<std::uint32_t>(block, kIncompatible) & kJournalInUse) != 0;
}

struct Run {
  int status;          // of the exit; 128 + the signal that ended it
  std::string output;  // the end of it
};

Result<Run> run(const std::string& program, const char* options, const std::string& device) {
  std::array<int, 2> ends = {};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return Error::from_errno(errno, "make a pipe");
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  std::vector<std::string> words = {"e2fsck", options, device};
  std::vector<char*> pointers;
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

  Run run{};
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

// How e2fsck's status counts: the sum of what was the case.
bool is_sound(const Run& run) {
  constexpr int kRepaired = 1;
  constexpr int kRepairedMounted = 2;  // and should not have been: it is not
  return (run.status & ~(kRepaired | kRepairedMounted)) == 0;
}

std::string last_line(const std::string& output) {
  std::istringstream lines(output);
  std::string last;
  for (std::string line; std::getline(lines, line);)
    if (!line.empty()) last = line;
  return last;
}

}  // namespace

// Where a user's PATH may not lead.
Result<std::string> find_e2fsck() {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(std::string(path != nullptr ? path : "") + ":/usr/local/sbin:/usr/sbin:/sbin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string program = folder + "/e2fsck";
    if (folder.starts_with('/') && ::access(program.c_str(), X_OK) == 0) return program;
  }
  return Error::host_lacks("e2fsck is not installed")
      .with_hint("install e2fsprogs; or attach without --mount, and repair the file system in another way");
}

Result<bool> repair_unclean(const std::string& device, const std::function<void(std::string_view)>& note) {
  DADI_TRY(const bool unclean, is_unclean(device));
  if (!unclean) return false;
  DADI_TRY(const std::string program, find_e2fsck().context("the file system was not unmounted cleanly"));
  DADI_TRY(Run safe, run(program, "-fp", device));
  if (is_sound(safe)) {
    note("the file system was not unmounted cleanly: e2fsck -fp has checked and repaired it");
    return true;
  }
  constexpr int kFaultsLeft = 4;
  if (safe.status != kFaultsLeft && safe.status != kFaultsLeft + 1)
    return Error::io("e2fsck ended with {}: {}", safe.status, last_line(safe.output));
  DADI_TRY(const Run all, run(program, "-fy", device));
  if (!is_sound(all)) {
    return Error::corruption("e2fsck cannot repair the file system, which was not unmounted cleanly: {}",
                             last_line(all.output))
        .with_hint("attach without --mount, and look at it with e2fsck -fn");
  }
  note(
      "the file system was not unmounted cleanly: e2fsck -fp was not enough, and -fy has repaired it; what lost its "
      "name is in lost+found");
  return true;
}

}  // namespace dadi::attach
