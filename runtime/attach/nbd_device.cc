#include "runtime/attach/nbd_device.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string_view>
#include <tuple>

#include "libformat/base/unique_fd.h"

namespace dadi::attach {

namespace {

constexpr std::string_view kLargestRequestKb = "1024";

std::string in_sys(std::uint32_t index, std::string_view name) {
  return fmt::format("/sys/block/nbd{}/{}", index, name);
}

void set(const std::string& path, std::string_view value) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file) std::ignore = ::write(file.get(), value.data(), value.size());
}

}  // namespace

std::string nbd_device_path(std::uint32_t index) {
  return fmt::format("/dev/nbd{}", index);
}

NbdDeviceState nbd_device_state(std::uint32_t index) {
  NbdDeviceState state;
  state.set_up = ::access(in_sys(index, "pid").c_str(), F_OK) == 0;
  std::ifstream backend(in_sys(index, "backend"));
  std::getline(backend, state.identifier);
  return state;
}

bool nbd_device_is_extra(std::uint32_t index) {
  std::ifstream parameter("/sys/module/nbd/parameters/nbds_max");
  std::uint32_t present = 0;
  return parameter >> present && index >= present;
}

void tune_nbd_device(std::uint32_t index) {
  set(in_sys(index, "queue/scheduler"), "none");
  set(in_sys(index, "queue/max_sectors_kb"), kLargestRequestKb);
}

Result<void> check_not_held(const std::string& device) {
  const UniqueFd file(::open(device.c_str(), O_RDONLY | O_EXCL | O_CLOEXEC));
  if (!file) return Error::from_errno(errno, device);
  return {};
}

}  // namespace dadi::attach
