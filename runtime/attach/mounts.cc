#include "runtime/attach/mounts.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include "libformat/base/endian.h"
#include "libformat/base/unique_fd.h"

namespace dadi::attach {
namespace {

namespace fs = std::filesystem;

constexpr unsigned long kAlways = MS_NODEV | MS_NOSUID;

// What a hostile superblock must not decide: errors=panic would stop the host.
constexpr std::string_view kExt4Always = "errors=remount-ro";
// A journal cannot be replayed on a device that cannot be written, and is left alone.
constexpr std::string_view kExt4ReadOnly = ",noload";
constexpr off_t kExt4MagicOffset = 1024 + 56;
constexpr std::uint16_t kExt4Magic = 0xef53;

constexpr std::pair<std::string_view, unsigned long> kFlags[] = {
    {"ro", MS_RDONLY},
    {"nodev", 0},
    {"nosuid", 0},
    {"exec", 0},
    {"noexec", MS_NOEXEC},
    {"defaults", 0},
    {"noatime", MS_NOATIME},
    {"nodiratime", MS_NODIRATIME},
    {"relatime", MS_RELATIME},
    {"strictatime", MS_STRICTATIME},
    {"lazytime", MS_LAZYTIME},
    {"sync", MS_SYNCHRONOUS},
    {"dirsync", MS_DIRSYNC},
    {"nosymfollow", 256},
};
constexpr std::string_view kRefused[] = {"dev", "suid", "loop", "remount", "bind"};

// "\040" is a space: how /proc/*/mountinfo escapes.
std::string unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, value, 8).ec == std::errc{}) {
      plain += static_cast<char>(value);
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

Result<void> require_ext4(const std::string& device) {
  const UniqueFd fd(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(errno, "open " + device);
  std::byte magic[2];
  const ssize_t n = ::pread(fd.get(), magic, sizeof magic, kExt4MagicOffset);
  if (n < 0) return Error::from_errno(errno, "read " + device);
  if (n == sizeof magic && load_le<std::uint16_t>(magic, 0) == kExt4Magic) return {};
  return Error::unsupported("{} has no ext4 file system", device)
      .with_hint("attach without --mount, and mount it as what it is");
}

std::string name_of_process(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/comm", pid));
  std::string name;
  std::getline(file, name);
  return name;
}

// Whether a process has the device, or a file on it, open, mapped, as its program or as a folder it is in.
bool process_uses(const fs::path& process, dev_t device) {
  const auto is_it = [device](const fs::path& link) {
    struct stat info {};
    if (::stat(link.c_str(), &info) != 0) return false;
    return info.st_dev == device || (S_ISBLK(info.st_mode) && info.st_rdev == device);
  };
  if (is_it(process / "cwd") || is_it(process / "root") || is_it(process / "exe")) return true;
  std::error_code ignored;
  for (fs::directory_iterator fd(process / "fd", ignored), end; !ignored && fd != end; fd.increment(ignored)) {
    if (is_it(fd->path())) return true;
  }
  std::ifstream maps(process / "maps");
  const std::string wanted = fmt::format(" {:02x}:{:02x} ", major(device), minor(device));
  for (std::string line; std::getline(maps, line);) {
    if (line.find(wanted) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

Result<MountOptions> MountOptions::parse(std::string_view text, bool writable) {
  MountOptions options;
  options.writable = writable;
  std::istringstream words{std::string(text)};
  for (std::string word; std::getline(words, word, ',');) {
    if (word.empty()) continue;
    if (word == "rw" && writable) continue;
    if (word == "rw" || std::ranges::find(kRefused, word) != std::end(kRefused)) {
      return Error::invalid_argument("mount option \"{}\": an image is mounted {},nodev,nosuid", word,
                                     writable ? "rw" : "ro");
    }
    const auto* flag = std::ranges::find(kFlags, word, [](const auto& entry) { return entry.first; });
    if (flag != std::end(kFlags)) {
      options.flags |= flag->second;
    } else {
      options.data += "," + word;
    }
  }
  return options;
}

Result<void> mount_device(const std::string& device, const fs::path& point, const MountOptions& options) {
  DADI_CHECK(require_ext4(device));
  unsigned long flags = kAlways | options.flags;
  std::string data(kExt4Always);
  if (!options.writable) {
    flags |= MS_RDONLY;
    data += kExt4ReadOnly;
  }
  data += options.data;
  if (::mount(device.c_str(), point.c_str(), "ext4", flags, data.c_str()) == 0) return {};
  if (errno == EUCLEAN || errno == EINVAL || errno == EIO || errno == EBADMSG) {
    return Error::corruption("the kernel does not mount it: {}", Error::from_errno(errno, "mount").message())
        .with_hint("dadi check REF says what is wrong with it; the kernel's log, too");
  }
  return Error::from_errno(errno, "mount on " + point.string());
}

std::vector<fs::path> mount_points_of(dev_t device) {
  std::vector<fs::path> found;
  std::ifstream file("/proc/self/mountinfo");
  const std::string wanted = fmt::format("{}:{}", major(device), minor(device));
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string id, parent, number, root, point;
    if (fields >> id >> parent >> number >> root >> point && number == wanted) found.emplace_back(unescaped(point));
  }
  return found;
}

Result<dev_t> device_number(const fs::path& device) {
  struct stat info {};
  if (::stat(device.c_str(), &info) != 0) return Error::from_errno(errno, device.string());
  if (!S_ISBLK(info.st_mode)) return Error::invalid_argument("{} is not a block device", device.string());
  return info.st_rdev;
}

Result<void> sync_mount(const fs::path& point) {
  const UniqueFd fd(::open(point.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) return Error::from_errno(errno, point.string());
  if (::syncfs(fd.get()) != 0) return Error::from_errno(errno, "write what is in memory of " + point.string());
  return {};
}

Result<void> sync_device(const std::string& device) {
  const UniqueFd fd(::open(device.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return Error::from_errno(errno, "open " + device);
  if (::fsync(fd.get()) != 0) return Error::from_errno(errno, "write what is in memory of " + device);
  return {};
}

Result<void> unmount(const fs::path& point, bool lazy) {
  struct stat info {};
  const bool known = ::stat(point.c_str(), &info) == 0;
  if (::umount2(point.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0) return {};
  if (errno == EINVAL || errno == ENOENT) return {};
  if (errno != EBUSY) return Error::from_errno(errno, "unmount " + point.string());
  std::vector<std::string> users;
  if (known) users = users_of(info.st_dev, getpid());
  std::erase_if(users, [](const std::string& user) { return user.starts_with("mounted"); });
  return Error::busy("{} is in use{}{}", point.string(), users.empty() ? "" : ": ", fmt::join(users, ", "))
      .with_hint("end what uses it, or detach it with --lazy");
}

std::vector<std::string> users_of(dev_t device, pid_t but) {
  std::vector<std::string> users;
  for (const fs::path& point : mount_points_of(device)) users.push_back("mounted on " + point.string());
  std::error_code ignored;
  for (fs::directory_iterator entry("/proc", ignored), end; !ignored && entry != end; entry.increment(ignored)) {
    const std::string name = entry->path().filename().string();
    pid_t pid = 0;
    if (std::from_chars(name.data(), name.data() + name.size(), pid).ec != std::errc{} || pid == but) continue;
    if (process_uses(entry->path(), device)) users.push_back(fmt::format("process {} ({})", pid, name_of_process(pid)));
  }
  return users;
}

}  // namespace dadi::attach
