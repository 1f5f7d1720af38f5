#include "apps/dadi/grown_file_system.h"

#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <sstream>

#include "apps/dadi/child_command.h"
#include "libformat/base/endian.h"
#include "libfs/ext4/layout.h"
#include "runtime/attach/fuse_file.h"

namespace dadi {
namespace {

constexpr auto kFileName = "disk";
constexpr int kLookAgain = 100;  // milliseconds between looks whether to stop

// What another process of this user's finds a descriptor of this one under.
std::string descriptor_path(int descriptor) {
  return fmt::format("/proc/{}/fd/{}", ::getpid(), descriptor);
}

// When the file system was last written to; never 0, which means now.
Result<std::uint32_t> last_write(const BlockReader& device) {
  constexpr std::size_t kWriteTime = 0x30;
  std::array<std::byte, fs::layout::kSuperblockSize> raw{};
  DADI_CHECK(device.read_at(whole_sectors(Bytes{fs::layout::kSuperblockOffset}), raw, {}));
  return std::max(load_le<std::uint32_t>(raw, kWriteTime), 1U);
}

// What was said of a failure, as "/usr/sbin/resize2fs: Permission denied to resize filesystem".
std::string said_of_failure(int file, const std::string& program) {
  std::array<char, 4096> buffer{};
  const ssize_t size = ::pread(file, buffer.data(), buffer.size(), 0);
  std::istringstream lines(std::string(buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0))));
  std::string all;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(program + ": ")) return line.substr(program.size() + 2);
    if (!line.empty()) all += (all.empty() ? "" : "; ") + line;
  }
  return all.empty() ? "nothing was said" : all;
}

struct Ended {
  int status;
  std::string said;  // of a failure
};

// Runs the program on the device, which it sees as a file.
Result<Ended> run_resize2fs(const std::string& program, const std::shared_ptr<const BlockReader>& device,
                            const std::shared_ptr<BlockWriter>& writer, const std::stop_token& stop) {
  DADI_TRY(const std::uint32_t time, last_write(*device));
  const UniqueFd said(::memfd_create("resize2fs", MFD_CLOEXEC));
  if (!said) return Error::from_errno(errno, "memfd_create");
  auto file = attach::FuseFile::serve(device, writer, kFileName);
  if (!file && file.error().code() == ErrorCode::kDenied)
    return Error::denied("{}", file.error().message())
        .with_hint("be root, if only in a namespace of your own: unshare -rm dadi resize …");
  if (!file) return std::move(file).error();
  DADI_TRY(auto child,
           ChildCommand::start(R"(exec "$program" -f "$disk" >"$said" 2>&1 </dev/null)",
                               {{"program", program},
                                {"disk", fmt::format("{}/{}", descriptor_path((*file)->folder()), kFileName)},
                                {"said", descriptor_path(said.get())},
                                {"E2FSPROGS_FAKE_TIME", std::to_string(time)},
                                // Else it depends on this host's kernel; zeros take no room here.
                                {"RESIZE2FS_FORCE_ITABLE_INIT", "1"}}));
  pollfd ended{child.fd(), POLLIN, 0};
  while (::poll(&ended, 1, kLookAgain) <= 0) {
    if (stop.stop_requested()) child.terminate();
  }
  const int status = child.wait();
  if (stop.stop_requested()) return Error::cancelled("stopped");
  file->reset();
  DADI_CHECK(writer->flush());
  return Ended{status, said_of_failure(said.get(), program)};
}

}  // namespace

// Where a user's PATH may not lead.
Result<std::string> find_resize2fs() {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(std::string(path != nullptr ? path : "") + ":/usr/local/sbin:/usr/sbin:/sbin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string program = folder + "/resize2fs";
    if (folder.starts_with('/') && ::access(program.c_str(), X_OK) == 0) return program;
  }
  return Error::host_lacks("resize2fs, which makes a file system larger, is not installed")
      .with_hint("install e2fsprogs; or convert the source again: dadi convert --virtual-size SIZE SRC DST");
}

Result<void> grow_file_system(const std::shared_ptr<const BlockReader>& device,
                              const std::shared_ptr<BlockWriter>& writer, const std::stop_token& stop) {
  DADI_TRY(const std::string program, find_resize2fs());
  DADI_TRY(const Ended ended, run_resize2fs(program, device, writer, stop));
  if (ended.status == 0) return {};
  return Error::unsupported("resize2fs ended with {}: {}", ended.status, ended.said);
}

}  // namespace dadi
