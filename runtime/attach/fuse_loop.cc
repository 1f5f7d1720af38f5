#include "runtime/attach/fuse_loop.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>

#include "runtime/attach/fuse_file.h"
#include "runtime/attach/loop_device.h"

namespace dadi::attach {
namespace {

// Whether the driver behind a character device of that number is there and lets itself be opened.
Result<void> has_driver(const char* path, unsigned minor_number, const char* hint) {
  constexpr unsigned kMisc = 10;
  struct stat info {};
  const UniqueFd fd(::open(path, O_RDWR | O_CLOEXEC));
  if (fd && ::fstat(fd.get(), &info) == 0 && S_ISCHR(info.st_mode) && info.st_rdev == makedev(kMisc, minor_number)) {
    return {};
  }
  if (fd) return Error::host_lacks("{} is something else", path).with_hint("{}", hint);
  if (errno == EACCES || errno == EPERM) return Error::from_errno(errno, path).with_hint("be root");
  return Error::host_lacks("{}: {}", path, Error::from_errno(errno, "open").message()).with_hint("{}", hint);
}

class FuseLoop final : public HostDevice {
 public:
  FuseLoop(std::unique_ptr<FuseFile> file, LoopDevice loop) : file_(std::move(file)), loop_(std::move(loop)) {}

  std::string path() const override { return loop_.path(); }

  Json state() const override {
    return {{"loop", loop_.number()}, {"file", file_->name()}, {"connection", file_->connection()}};
  }

  Result<void> remove() override { return loop_.remove(); }

  // The device frees itself when the last who has it open closes it; that closes the file, and so ends FUSE.
  void remove_later(std::function<void()> gone) override {
    file_->when_unused(std::move(gone));
    loop_.let_go();
  }

 private:
  std::unique_ptr<FuseFile> file_;  // outlives the loop device that reads it
  LoopDevice loop_;
};

}  // namespace

Result<void> probe_fuse_loop() {
  DADI_CHECK(has_driver("/dev/fuse", 229, "load the module: modprobe fuse"));
  return has_driver("/dev/loop-control", 237, "load the module: modprobe loop");
}

Result<std::unique_ptr<HostDevice>> create_fuse_loop(HostDeviceRequest request) {
  if (!request.previous.is_null()) {
    return Error::unsupported("a device of FUSE and loop does not survive its process")
        .with_hint("detach it, and attach it again");
  }
  const bool writable = request.writer != nullptr;
  DADI_TRY(auto file, FuseFile::serve(std::move(request.device), std::move(request.writer), request.label));
  DADI_TRY(LoopDevice loop, LoopDevice::over(file->folder(), file->name(), writable));
  return std::make_unique<FuseLoop>(std::move(file), std::move(loop));
}

Result<void> clean_up_fuse_loop(const Json& state) {
  const auto number = state.find("loop");
  const auto file = state.find("file");
  const auto connection = state.find("connection");
  if (number == state.end() || !number->is_number_unsigned() || file == state.end() || !file->is_string() ||
      connection == state.end() || !connection->is_number_unsigned()) {
    return Error::corruption("not the state of a loop device");
  }
  if (!is_loop_over(*number, file->get<std::string>())) return {};
  // A process that is dead and not gone may hang in a read of its own device.
  abort_fuse_connection(connection->get<unsigned>());
  return clear_loop(*number);
}

}  // namespace dadi::attach
