#include "runtime/attach/frozen_mount.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <cerrno>

namespace dadi::attach {

Result<FrozenMount> FrozenMount::freeze(const std::filesystem::path& point) {
  UniqueFd root(::open(point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root) return Error::from_errno(errno, "open " + point.string());
  if (::ioctl(root.get(), FIFREEZE, 0) != 0) return Error::from_errno(errno, "freeze " + point.string());
  return FrozenMount(std::move(root));
}

FrozenMount::~FrozenMount() {
  if (root_) ::ioctl(root_.get(), FITHAW, 0);
}

}  // namespace dadi::attach
