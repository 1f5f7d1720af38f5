// Folders with names of their own, among the temporary files.
#pragma once

#include <filesystem>
#include <string>
#include <utility>

#include "libformat/base/result.h"

namespace dadi {

// Goes with its owner, and all that is in it. Move-only.
class TemporaryFolder {
 public:
  // Its name begins with `like`. Errors: those of making a folder.
  static Result<TemporaryFolder> make(const std::string& like);
  TemporaryFolder(TemporaryFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TemporaryFolder& operator=(TemporaryFolder&&) = delete;
  ~TemporaryFolder();

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  explicit TemporaryFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
};

// A place for a mount point. Goes with its owner if it is empty by then: what is mounted there is never removed.
// Move-only.
class MountFolder {
 public:
  static Result<MountFolder> make(const std::string& like);
  MountFolder(MountFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  MountFolder& operator=(MountFolder&&) = delete;
  ~MountFolder();

  // Is not there yet.
  std::filesystem::path mount_point() const { return path_ / "root"; }

 private:
  explicit MountFolder(std::filesystem::path path) : path_(std::move(path)) {}

  std::filesystem::path path_;
};

}  // namespace dadi
