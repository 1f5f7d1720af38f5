#include "apps/dadid/handover.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace dadi {
namespace {

using attach::Json;

constexpr off_t kLargest = 1 << 20;  // bytes of a handover

Json to_json(const Handover& handover) {
  return {{"lock", handover.lock.get()},
          {"control", handover.control.get()},
          {"program", handover.program.get()},
          {"generation", handover.generation},
          {"failed", handover.failed ? attach::to_json(*handover.failed) : Json()},
          {"backend_state", handover.backend_state}};
}

Result<UniqueFd> file_in_memory(const std::string& text) {
  UniqueFd file(::memfd_create("dadid-handover", 0));  // without MFD_CLOEXEC: it is for the next program
  if (!file) return Error::from_errno(errno, "a file in memory");
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(file.get(), text.data() + done, text.size() - done);
    if (n < 0) return Error::from_errno(errno, "a file in memory");
    done += static_cast<std::size_t>(n);
  }
  return file;
}

void let_inherit(const Handover& handover, bool inherited) {
  for (const UniqueFd* descriptor : {&handover.lock, &handover.control, &handover.program}) {
    if (*descriptor) ::fcntl(descriptor->get(), F_SETFD, inherited ? 0 : FD_CLOEXEC);
  }
}

Error execute(const std::string& program, const std::string& shown, const std::filesystem::path& device_folder,
              const Handover& handover) {
  const auto file = file_in_memory(to_json(handover).dump(-1, ' ', false, Json::error_handler_t::replace));
  if (!file) return file.error();
  std::vector<std::string> words = {"dadid", "--in-place-of", device_folder.string(), std::to_string(file->get())};
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  let_inherit(handover, true);
  ::execv(program.c_str(), pointers.data());
  const int number = errno;
  let_inherit(handover, false);
  return Error::from_errno(number, "execute " + shown);
}

UniqueFd descriptor_in(const Json& json, const char* name) {
  const int number = json.at(name).get<int>();
  if (number < 0) return {};
  if (::fcntl(number, F_SETFD, FD_CLOEXEC) != 0) throw std::out_of_range(name);
  return UniqueFd(number);
}

}  // namespace

Error execute(const std::filesystem::path& program, const std::filesystem::path& device_folder,
              const Handover& handover) {
  return execute(program.string(), program.string(), device_folder, handover);
}

Error go_back(const std::filesystem::path& device_folder, Handover handover, Error why) {
  if (!handover.program) return Error::not_found("there is no program to go back to");
  const std::string program = fmt::format("/proc/self/fd/{}", handover.program.get());
  handover.failed = std::move(why);
  // The number stays readable for exec, and is closed by it: whom it leads to has no way back.
  const UniqueFd last = std::exchange(handover.program, UniqueFd());
  return execute(program, "the program before", device_folder, handover);
}

Result<Handover> receive_handover(int descriptor) try {
  const UniqueFd file(descriptor);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) return Error::from_errno(errno, "handover");
  if (info.st_size > kLargest) return Error::corruption("handover: {} bytes", info.st_size);
  std::string text(static_cast<std::size_t>(info.st_size), '\0');
  if (::pread(file.get(), text.data(), text.size(), 0) != info.st_size) return Error::from_errno(errno, "handover");
  const Json json = Json::parse(text);
  Handover handover;
  handover.lock = descriptor_in(json, "lock");
  handover.control = descriptor_in(json, "control");
  handover.program = descriptor_in(json, "program");
  handover.generation = json.at("generation").get<unsigned>();
  if (const Json& failed = json.at("failed"); !failed.is_null()) handover.failed = attach::error_of(failed);
  handover.backend_state = json.at("backend_state");
  return handover;
} catch (const std::exception& error) {
  return Error::corruption("handover: {}", error.what());
}

}  // namespace dadi
