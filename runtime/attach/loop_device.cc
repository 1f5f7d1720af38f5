#include "runtime/attach/loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

namespace dadi::attach {
namespace {

constexpr unsigned kBlockSize = 512;
constexpr int kMostRaces = 1000;  // lost to others that take the same free device at once

std::string path_of(unsigned number) {
  return fmt::format("/dev/loop{}", number);
}

// What became of an attempt to make a device, from the process that made it.
struct Outcome {
  enum class Step : int { kDone, kFile, kControl, kGetFree, kOpen, kConfigure, kKeep, kRaces };
  Step step = Step::kDone;
  int number = 0;  // errno
  unsigned device = 0;
};

// Makes the device, in a process that is a copy of one thread of another: nothing here may allocate or lock.
class LoopMaker {
 public:
  // What the new process has of the old one's descriptors.
  struct Inherited {
    int folder;
    int keeper;
    int outcome;
  };

  LoopMaker(const Inherited& inherited, const std::string& name, bool writable)
      : inherited_(inherited), name_(name.c_str()), access_(writable ? O_RDWR : O_RDONLY) {
    config_.block_size = kBlockSize;
    config_.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    if (!writable) config_.info.lo_flags |= LO_FLAGS_READ_ONLY;
    name.copy(reinterpret_cast<char*>(config_.info.lo_file_name), sizeof(config_.info.lo_file_name) - 1);
  }

  [[noreturn]] void run() {
    keep_only_inherited();
    const Outcome outcome = make();
    const bool told = ::write(inherited_.outcome, &outcome, sizeof outcome) == sizeof outcome;
    ::_exit(told ? 0 : 1);
  }

 private:
  // The descriptors of FUSE above all: as long as they are open here, the end of the other process is not that of FUSE.
  void keep_only_inherited() {
    int next = 0;
    for (const int keep : sorted()) {
      if (keep > next) ::close_range(static_cast<unsigned>(next), static_cast<unsigned>(keep - 1), 0);
      next = keep + 1;
    }
    ::close_range(static_cast<unsigned>(next), ~0U, 0);
  }

  std::array<int, 3> sorted() const {
    std::array<int, 3> descriptors = {inherited_.folder, inherited_.keeper, inherited_.outcome};
    std::ranges::sort(descriptors);
    return descriptors;
  }

  static Outcome failed(Outcome::Step step, unsigned device = 0) { return {step, errno, device}; }

  Outcome make() {
    using Step = Outcome::Step;
    const int file = ::openat(inherited_.folder, name_, access_ | O_NOFOLLOW);
    if (file < 0) return failed(Step::kFile);
    config_.fd = static_cast<__u32>(file);
    const int control = ::open("/dev/loop-control", O_RDWR);
    if (control < 0) return failed(Step::kControl);
    for (int attempt = 0; attempt < kMostRaces; ++attempt) {
      const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
      if (number < 0) return failed(Step::kGetFree);
      const auto device = static_cast<unsigned>(number);
      char path[32];
      *fmt::format_to_n(path, sizeof path - 1, "/dev/loop{}", device).out = '\0';
      const int fd = ::open(path, access_);  // decides, too, whether the device can be written
      if (fd < 0 && errno != ENXIO && errno != EBUSY) return failed(Step::kOpen, device);
      if (fd < 0) continue;  // it was taken, and is being freed again
      if (::ioctl(fd, LOOP_CONFIGURE, &config_) == 0) {
        return keep(fd) ? Outcome{Step::kDone, 0, device} : failed(Step::kKeep, device);
      }
      if (errno != EBUSY) return failed(Step::kConfigure, device);
      ::close(fd);
    }
    return failed(Step::kRaces);
  }

  // As a message in a socket that the other process has the end of, and never receives.
  //
  // The kernel closes the descriptors of a killed process one after the other, in an order of its own. Closing the last
  // descriptor of a loop device waits for reads under way: if that process is the one to answer them, and its
  // descriptors of FUSE come later, it waits for itself, for ever. What is in a closed socket is closed after all that
  // the process had open.
  bool keep(int fd) const {
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    char byte = 0;
    iovec content{.iov_base = &byte, .iov_len = 1};
    msghdr message{};
    message.msg_iov = &content;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
    return ::sendmsg(inherited_.keeper, &message, 0) >= 0;
  }

  Inherited inherited_;
  const char* name_;
  int access_;
  loop_config config_{};
};

Error error_of(const Outcome& outcome) {
  const auto message = [&](const std::string& what) { return Error::from_errno(outcome.number, what); };
  switch (outcome.step) {
    case Outcome::Step::kControl:
      return message("open /dev/loop-control");
    case Outcome::Step::kGetFree:
      return Error::host_lacks("no loop device is free: {}", message("LOOP_CTL_GET_FREE").message());
    case Outcome::Step::kOpen:
      return Error::host_lacks("open {}: {}", path_of(outcome.device), message("open").message());
    case Outcome::Step::kConfigure:
      return message("configure " + path_of(outcome.device));
    case Outcome::Step::kKeep:
      return message("keep a descriptor");
    case Outcome::Step::kRaces:
      return Error::busy("no loop device could be had: others were always faster");
    default:
      return message("open the file of FUSE");
  }
}

// The end of `process` with what it wrote before.
Result<Outcome> outcome_of(pid_t process, const UniqueFd& pipe) {
  Outcome outcome;
  ssize_t n = 0;
  while ((n = ::read(pipe.get(), &outcome, sizeof outcome)) < 0 && errno == EINTR) {
  }
  int status = 0;
  while (::waitpid(process, &status, 0) < 0 && errno == EINTR) {
  }
  if (n != sizeof outcome) return Error::io("the process that makes the loop device ended without a word");
  return outcome;
}

}  // namespace

Result<LoopDevice> LoopDevice::over(int folder, const std::string& name, bool writable) {
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets) != 0)
    return Error::from_errno(errno, "make a socket");
  UniqueFd keeper(sockets[0]);
  UniqueFd sender(sockets[1]);
  int pipes[2];
  if (::pipe2(pipes, O_CLOEXEC) != 0) return Error::from_errno(errno, "make a pipe");
  const UniqueFd reader(pipes[0]);
  UniqueFd writer(pipes[1]);
  LoopMaker maker({.folder = folder, .keeper = sender.get(), .outcome = writer.get()}, name, writable);
  const pid_t process = ::fork();
  if (process < 0) return Error::from_errno(errno, "fork");
  if (process == 0) maker.run();
  sender = UniqueFd();
  writer = UniqueFd();
  DADI_TRY(const Outcome outcome, outcome_of(process, reader));
  if (outcome.step != Outcome::Step::kDone) return error_of(outcome);
  return LoopDevice(outcome.device, writable, std::move(keeper));
}

std::string LoopDevice::path() const {
  return path_of(number_);
}

Result<void> LoopDevice::remove() {
  if (!keeper_) return {};
  // Claimed while it is taken away: nobody can mount it meanwhile. With the claim the last that has it open goes.
  const UniqueFd claim(::open(path().c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  if (!claim) return Error::from_errno(errno, path());
  if (writable_ && ::fsync(claim.get()) != 0) return Error::from_errno(errno, "write what is in memory of " + path());
  let_go();
  return {};
}

bool is_loop_over(unsigned number, const std::string& name) {
  std::ifstream file(fmt::format("/sys/block/loop{}/loop/backing_file", number));
  std::string backing;
  return std::getline(file, backing) && backing == "/" + name;
}

Result<void> clear_loop(unsigned number) {
  const UniqueFd fd(::open(path_of(number).c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  if (!fd) return errno == ENXIO || errno == ENOENT ? Result<void>() : Error::from_errno(errno, path_of(number));
  if (::ioctl(fd.get(), LOOP_CLR_FD) != 0 && errno != ENXIO) return Error::from_errno(errno, "free " + path_of(number));
  return {};
}

}  // namespace dadi::attach
