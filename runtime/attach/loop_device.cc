#include "runtime/attach/loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <fstream>

namespace dadi::attach {
namespace {

constexpr unsigned kBlockSize = 512;
constexpr int kMostRaces = 1000;  // lost to others that take the same free device at once

std::string path_of(unsigned number) {
  return fmt::format("/dev/loop{}", number);
}

Result<unsigned> next_free(int control) {
  const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
  if (number >= 0) return static_cast<unsigned>(number);
  return Error::host_lacks("no loop device is free: {}", Error::from_errno(errno, "LOOP_CTL_GET_FREE").message());
}

loop_config configuration(int file, const std::string& label) {
  loop_config config{};
  config.fd = static_cast<__u32>(file);
  config.block_size = kBlockSize;
  config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
  label.copy(reinterpret_cast<char*>(config.info.lo_file_name), sizeof(config.info.lo_file_name) - 1);
  return config;
}

// Keeps a descriptor open as a message on its way through a socket, which is returned.
//
// The kernel closes the descriptors of a killed process one after the other, in an order of its own. Closing the last
// descriptor of a loop device waits for reads under way: if this process is the one to answer them, and its descriptors
// of FUSE come later, it waits for itself, for ever. What is in a closed socket is closed after all that the process
// had open.
Result<UniqueFd> keep_open(const UniqueFd& fd) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) != 0) return Error::from_errno(errno, "make a socket");
  const UniqueFd sender(ends[0]);
  UniqueFd keeper(ends[1]);
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
  const int number = fd.get();
  std::memcpy(CMSG_DATA(header), &number, sizeof number);
  if (::sendmsg(sender.get(), &message, 0) < 0) return Error::from_errno(errno, "keep a descriptor");
  return keeper;
}

}  // namespace

Result<LoopDevice> LoopDevice::over(int file, const std::string& label) {
  const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
  if (!control) return Error::from_errno(errno, "open /dev/loop-control");
  const loop_config config = configuration(file, label);
  for (int attempt = 0; attempt < kMostRaces; ++attempt) {
    DADI_TRY(const unsigned number, next_free(control.get()));
    const UniqueFd fd(::open(path_of(number).c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd) {
      if (errno == ENXIO || errno == EBUSY) continue;  // it was taken, and is being freed again
      return Error::host_lacks("open {}: {}", path_of(number), Error::from_errno(errno, "open").message());
    }
    if (::ioctl(fd.get(), LOOP_CONFIGURE, &config) == 0) {
      DADI_TRY(UniqueFd keeper, keep_open(fd));
      return LoopDevice(number, std::move(keeper));
    }
    if (errno != EBUSY) return Error::from_errno(errno, "configure " + path_of(number));
  }
  return Error::busy("no loop device could be had: others were always faster");
}

std::string LoopDevice::path() const {
  return path_of(number_);
}

Result<void> LoopDevice::remove() {
  if (!keeper_) return {};
  // Claimed while it is taken away: nobody can mount it meanwhile. With the claim the last that has it open goes.
  const UniqueFd claim(::open(path().c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  if (!claim) return Error::from_errno(errno, path());
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
