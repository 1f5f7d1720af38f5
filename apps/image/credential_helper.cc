#include "apps/image/credential_helper.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <csignal>
#include <nlohmann/json.hpp>

#include "libformat/base/bytes.h"
#include "libformat/base/unique_fd.h"

namespace dadi {

namespace {

constexpr std::size_t kMostAnswer = 64 << 10;

struct Pipe {
  UniqueFd reading, writing;
};

Result<Pipe> make_pipe() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return Error::from_errno(errno, "make a pipe");
  return Pipe{UniqueFd(ends[0]), UniqueFd(ends[1])};
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> piece{};
  for (;;) {
    const ssize_t n = ::read(fd, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    if (text.size() < kMostAnswer) text.append(piece.data(), static_cast<std::size_t>(n));
  }
}

struct Answer {
  int status = 0;
  std::string text;
};

Result<Answer> run(const std::string& program, const std::string& input) {
  DADI_TRY(Pipe in, make_pipe());
  DADI_TRY(Pipe out, make_pipe());
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.reading.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.writing.get(), STDOUT_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t signals;
  sigemptyset(&signals);
  posix_spawnattr_setsigmask(&attributes, &signals);  // dadi waits for them in a thread: the helper shall hear Ctrl-C
  sigaddset(&signals, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &signals);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string name = program, verb = "get";
  std::array<char*, 3> words{name.data(), verb.data(), nullptr};
  pid_t child = 0;
  const int failure = ::posix_spawnp(&child, program.c_str(), &actions, &attributes, words.data(), environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (failure != 0)
    return Error::host_lacks("the credential helper {} cannot be run: {}", program,
                             Error::from_errno(failure, "").message());
  in.reading = UniqueFd();
  out.writing = UniqueFd();
  // Shorter than a pipe holds, so that this does not wait; SIGPIPE is ignored.
  [[maybe_unused]] const ssize_t written = ::write(in.writing.get(), input.data(), input.size());
  in.writing = UniqueFd();
  Answer answer;
  answer.text = read_all(out.reading.get());
  while (::waitpid(child, &answer.status, 0) < 0 && errno == EINTR) {
  }
  return answer;
}

}  // namespace

Result<std::optional<registry::Credential>> ask_helper(const std::string& name, const std::string& server) {
  const bool plain = std::ranges::all_of(
      name, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; });
  if (!plain) return Error::corruption("\"{}\" is not a credential helper's name", name);
  const std::string program = "docker-credential-" + name;
  DADI_TRY(const Answer answer, run(program, server));
  // A server that it does not know is a failure to the helper, and none to us.
  if (!WIFEXITED(answer.status) || WEXITSTATUS(answer.status) != 0) return std::optional<registry::Credential>();
  const auto json = nlohmann::json::parse(answer.text, nullptr, /*allow_exceptions=*/false);
  const auto text = [&](const char* member) {
    return json.is_object() && json.contains(member) && json[member].is_string() ? json[member].get<std::string>() : "";
  };
  registry::Credential credential{.user = text("Username"), .password = text("Secret"), .identity_token = {}};
  if (credential.user.empty()) return Error::corruption("the credential helper {} gave no credential", program);
  if (credential.user == "<token>") credential = {.user = {}, .password = {}, .identity_token = text("Secret")};
  return std::optional(std::move(credential));
}

}  // namespace dadi
