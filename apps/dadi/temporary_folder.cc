#include "apps/dadi/temporary_folder.h"

#include <cerrno>
#include <cstdlib>

namespace dadi {
namespace {

Result<std::filesystem::path> make_folder(const std::string& like) {
  std::error_code failed;
  std::string path = (std::filesystem::temp_directory_path(failed) / (like + "-XXXXXX")).string();
  if (failed) return Error::from_errno(failed.value(), "find a folder for temporary files");
  if (::mkdtemp(path.data()) == nullptr) return Error::from_errno(errno, path);
  return std::filesystem::path(path);
}

}  // namespace

Result<TemporaryFolder> TemporaryFolder::make(const std::string& like) {
  DADI_TRY(std::filesystem::path path, make_folder(like));
  return TemporaryFolder(std::move(path));
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

Result<MountFolder> MountFolder::make(const std::string& like) {
  DADI_TRY(std::filesystem::path path, make_folder(like));
  return MountFolder(std::move(path));
}

MountFolder::~MountFolder() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove(path_, ignored);
}

}  // namespace dadi
