#include "runtime/attach/upgrade.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <thread>

#include "runtime/attach/control.h"

extern char** environ;

namespace dadi::attach {
namespace {

constexpr std::chrono::minutes kToOpen(2);  // an image may be far away
constexpr std::chrono::milliseconds kBetweenQuestions(20);

// What a program writes to stdout, and its exit; ended when it takes too long.
Result<std::string> output_of(const std::filesystem::path& program, std::vector<std::string> words,
                              const Patience& patience) {
  std::array<int, 2> ends = {};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return Error::from_errno(errno, "make a pipe");
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), STDOUT_FILENO);
  pid_t pid = 0;
  const int number = ::posix_spawn(&pid, program.c_str(), &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (number != 0) return Error::from_errno(number, "start " + program.string());
  theirs = UniqueFd();

  std::string text;
  Result<void> waited;
  while ((waited = wait_for(ours.get(), POLLIN, patience))) {
    std::array<char, 4096> buffer;
    const ssize_t n = ::read(ours.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || text.size() > (1 << 20)) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  if (!waited) ::kill(pid, SIGKILL);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!waited) return waited.error();
  return text;
}

// Whether the program can serve what the device holds.
Result<void> try_out(const DeviceFolder& device, const DeviceState& state, const UpgradeRequest& request) {
  DADI_TRY(const std::string text, output_of(request.program, {"dadid", "--check-resume", device.path().string()},
                                             Patience::of(kToOpen, request.stop)));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Error::unsupported("it is no dadid, or one that cannot take over");
  if (json.contains("error")) return error_of(json["error"]);
  const auto size = json.find("size");
  if (size == json.end() || !size->is_number_unsigned()) return Error::unsupported("it says nothing of the image");
  if (*size != state.size.value) {
    return Error::corruption("it finds {} bytes in the image, but the device has {}", size->get<std::uint64_t>(),
                             state.size.value);
  }
  return {};
}

// Asks until the dadid of that generation answers, or the one before says why it goes on.
Result<DeviceState> wait_for_generation(const DeviceFolder& device, unsigned generation, const Patience& patience) {
  while (true) {
    const auto status = ask(device.control_path(), {{"request", "status"}}, patience);
    if (status && status->contains("failed_upgrade")) return error_of((*status)["failed_upgrade"]);
    if (status) {
      DADI_TRY(DeviceState state, device_state_of(*status));
      if (state.generation == generation) return state;
    } else if (status.error().code() == ErrorCode::kCancelled || std::chrono::steady_clock::now() > patience.end) {
      return status.error();
    } else {
      // The one before has heard the question, and been replaced; or the new one has ended.
      DADI_TRY(const bool alive, device.alive());
      if (!alive) {
        return Error::unavailable("the new dadid died: {}", status.error().message())
            .with_hint("attach it again under its name: its mounts and reads wait for that");
      }
    }
    std::this_thread::sleep_for(kBetweenQuestions);
  }
}

}  // namespace

Result<DeviceState> upgrade(const StateFolder& folder, const UpgradeRequest& request) {
  DADI_TRY(const FileLock lock, folder.lock());
  DADI_TRY(const Attachment attachment, folder.attachment(request.name));
  const DeviceFolder device = folder.device(attachment.device_id);
  DADI_TRY(const bool alive, device.alive());
  if (!alive) {
    return Error::unavailable("its dadid is dead")
        .with_hint("attach {} again under the name {}", attachment.reference, attachment.name);
  }
  DADI_TRY(const DeviceState state, device.state());
  DADI_CHECK(try_out(device, state, request).context("{}", request.program.string()));
  DADI_TRY(const Json answer,
           ask(device.control_path(), {{"request", "upgrade"}, {"program", request.program.string()}},
               Patience::of(kToOpen, request.stop)));
  const auto generation = answer.find("generation");
  if (generation == answer.end() || !generation->is_number_unsigned())
    return Error::corruption("an answer that is none");
  return wait_for_generation(device, generation->get<unsigned>(), Patience::of(kToOpen, request.stop));
}

}  // namespace dadi::attach
