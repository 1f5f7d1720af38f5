#include "libfs/folder_archive.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <map>
#include <memory>

#include "libformat/base/unique_fd.h"
#include "libfs/archive_text.h"
#include "libfs/pax_writer.h"

namespace dadi::fs {

namespace {

constexpr std::size_t kPiece = std::size_t{256} << 10;
constexpr std::string_view kWhiteout = ".wh.";

// Attributes that mean the same in an image. Labels of security modules and what overlayfs keeps do not.
bool goes_along(std::string_view name) {
  return name.starts_with("user.") || name == "security.capability" || name.starts_with("system.posix_acl_");
}

// Asks twice, for the size and for the content, which may have grown.
template <typename Ask>
Result<std::string> ask_grown(Ask ask, const std::string& what) {
  std::string content;
  for (;;) {
    const ssize_t size = ask(nullptr, 0);
    if (size < 0) return Error::from_errno(errno, what);
    content.resize(static_cast<std::size_t>(size));
    const ssize_t got = size == 0 ? 0 : ask(content.data(), content.size());
    if (got < 0 && errno == ERANGE) continue;
    if (got < 0) return Error::from_errno(errno, what);
    content.resize(static_cast<std::size_t>(got));
    return content;
  }
}

Result<std::vector<std::string>> names_in(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (!directory) return Error::from_errno(errno, fmt::format("open {}", path));
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* const entry = ::readdir(directory.get());
    if (entry == nullptr && errno != 0) return Error::from_errno(errno, fmt::format("read {}", path));
    if (entry == nullptr) break;
    std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(std::move(name));
  }
  std::ranges::sort(names);
  return names;
}

FileType type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return FileType::kDirectory;
    case S_IFLNK:
      return FileType::kSymlink;
    case S_IFCHR:
      return FileType::kCharacterDevice;
    case S_IFBLK:
      return FileType::kBlockDevice;
    case S_IFIFO:
      return FileType::kFifo;
    default:
      return FileType::kRegular;
  }
}

class FolderWriter {
 public:
  FolderWriter(std::filesystem::path folder, ByteSink& out, const FolderArchiveOptions& options)
      : folder_(std::move(folder)), writer_(out), options_(options) {}

  Result<FolderArchive> run() {
    DADI_CHECK(add_all_in(""));
    DADI_CHECK(writer_.finish());
    return std::move(result_);
  }

 private:
  // `path`: of a directory within the folder, with a slash at its end; "": the folder itself.
  Result<void> add_all_in(const std::string& path) {
    DADI_TRY(const auto names, names_in(on_host(path)));
    for (const std::string& name : names) DADI_CHECK(add(path + name, name));
    return {};
  }

  Result<void> add(const std::string& path, std::string_view name) {
    if (options_.stop.stop_requested()) return Error::cancelled("stopped");
    if (name.starts_with(kWhiteout))
      return Error::invalid_argument("{}: in a layer, names that begin with \"{}\" delete files", in_quotes(path),
                                     kWhiteout);
    struct stat status {};
    if (::lstat(on_host(path).c_str(), &status) != 0)
      return Error::from_errno(errno, fmt::format("stat {}", on_host(path)));
    if (S_ISSOCK(status.st_mode)) {
      result_.sockets.push_back(path);
      return {};
    }
    ++result_.entries;
    if (S_ISREG(status.st_mode)) return add_file(path);
    ArchiveEntry entry = entry_for(path, status);
    if (S_ISDIR(status.st_mode)) {
      DADI_TRY(entry.attributes.xattrs, xattrs_of(path, -1));
      DADI_CHECK(writer_.begin(entry));
      return add_all_in(path + "/");
    }
    if (!entry.hardlink && S_ISLNK(status.st_mode)) {
      DADI_TRY(entry.symlink, target_of(path));
    }
    return writer_.begin(entry);
  }

  Result<void> add_file(const std::string& path) {
    const UniqueFd fd(::open(on_host(path).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0) return Error::from_errno(errno, fmt::format("open {}", on_host(path)));
    if (!S_ISREG(status.st_mode)) return Error::io("{}: replaced while it was read", on_host(path));
    ArchiveEntry entry = entry_for(path, status);
    if (entry.hardlink) return writer_.begin(entry);
    entry.size = {static_cast<std::uint64_t>(status.st_size)};
    DADI_TRY(entry.attributes.xattrs, xattrs_of(path, fd.get()));
    DADI_CHECK(writer_.begin(entry));
    DADI_CHECK(put_content(path, fd.get(), entry.size.value));
    return writer_.end();
  }

  // The first name of a file has its content; the others lead to it.
  ArchiveEntry entry_for(const std::string& path, const struct stat& status) {
    ArchiveEntry entry;
    entry.path = in_image(path);
    Attributes& attributes = entry.attributes;
    attributes.type = type_of(status.st_mode);
    attributes.permissions = static_cast<std::uint16_t>(status.st_mode & 07777);
    attributes.uid = options_.owner ? options_.owner->user : status.st_uid;
    attributes.gid = options_.owner ? options_.owner->group : status.st_gid;
    attributes.mtime = {status.st_mtim.tv_sec, static_cast<std::uint32_t>(status.st_mtim.tv_nsec)};
    if (S_ISBLK(status.st_mode) || S_ISCHR(status.st_mode)) {
      attributes.device_major = major(status.st_rdev);
      attributes.device_minor = minor(status.st_rdev);
    }
    if (S_ISDIR(status.st_mode) || status.st_nlink < 2) return entry;
    const auto [at, is_new] = linked_.try_emplace({status.st_dev, status.st_ino}, entry.path);
    if (!is_new) entry.hardlink = at->second;
    return entry;
  }

  Result<std::string> target_of(const std::string& path) const {
    std::string target(PATH_MAX, '\0');
    const ssize_t size = ::readlink(on_host(path).c_str(), target.data(), target.size());
    if (size < 0) return Error::from_errno(errno, fmt::format("read {}", on_host(path)));
    target.resize(static_cast<std::size_t>(size));
    return target;
  }

  // Of a directory, `fd` is -1.
  Result<Xattrs> xattrs_of(const std::string& path, int fd) const {
    const std::string file = on_host(path);
    const auto list = [&](char* out, std::size_t size) {
      return fd >= 0 ? ::flistxattr(fd, out, size) : ::llistxattr(file.c_str(), out, size);
    };
    Xattrs xattrs;
    const auto names = ask_grown(list, fmt::format("list the attributes of {}", file));
    if (!names && list(nullptr, 0) < 0 && errno == ENOTSUP) return xattrs;
    if (!names) return names.error();
    for (const char* name = names->c_str(); name < names->c_str() + names->size(); name += std::strlen(name) + 1) {
      if (!goes_along(name)) continue;
      const auto get = [&](char* out, std::size_t size) {
        return fd >= 0 ? ::fgetxattr(fd, name, out, size) : ::lgetxattr(file.c_str(), name, out, size);
      };
      DADI_TRY(xattrs[name], ask_grown(get, fmt::format("read attribute {} of {}", name, file)));
    }
    return xattrs;
  }

  Result<void> put_content(const std::string& path, int fd, std::uint64_t size) {
    buffer_.resize(kPiece);
    for (std::uint64_t left = size; left > 0;) {
      if (options_.stop.stop_requested()) return Error::cancelled("stopped");
      const ssize_t n = ::read(fd, buffer_.data(), std::min<std::uint64_t>(left, buffer_.size()));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Error::from_errno(errno, fmt::format("read {}", on_host(path)));
      if (n == 0) return Error::io("{}: cut short while it was read", on_host(path));
      DADI_CHECK(writer_.data(std::span(buffer_).first(static_cast<std::size_t>(n))));
      left -= static_cast<std::uint64_t>(n);
    }
    return {};
  }

  std::string on_host(const std::string& path) const { return (folder_ / path).string(); }
  std::string in_image(const std::string& path) const {
    return options_.target.empty() ? path : options_.target + "/" + path;
  }

  const std::filesystem::path folder_;
  PaxWriter writer_;
  const FolderArchiveOptions& options_;
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;  // files of several names, by the first that was met
  std::vector<std::byte> buffer_;
  FolderArchive result_;
};

}  // namespace

Result<FolderArchive> write_folder_archive(const std::filesystem::path& folder, ByteSink& out,
                                           const FolderArchiveOptions& options) {
  return FolderWriter(folder, out, options).run();
}

}  // namespace dadi::fs
