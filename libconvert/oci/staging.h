// Where an image's blobs wait, under no final name, until it is complete. Internal to this folder.
#pragma once

#include <filesystem>
#include <utility>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"

namespace dadi::oci {

// An exclusive lock in the form of a file, which is there only while somebody holds or awaits it. The kernel releases
// the lock of a process that dies; the file that it leaves is taken over. Move-only.
class FileLock {
 public:
  // Waits until nobody else holds it. Errors: not_found (no such folder), denied, io.
  static Result<FileLock> acquire(const std::filesystem::path& path);
  ~FileLock();
  FileLock(FileLock&&) = default;
  FileLock& operator=(FileLock&&) = delete;

 private:
  FileLock(std::filesystem::path path, UniqueFd fd) : path_(std::move(path)), fd_(std::move(fd)) {}

  std::filesystem::path path_;
  UniqueFd fd_;
};

// Folders that were made on the way to a path; those still empty are removed again unless kept. Move-only.
class CreatedFolders {
 public:
  // Makes `path` and what is missing above it. Errors: denied, io, invalid_argument (something else has that name).
  static Result<CreatedFolders> create(const std::filesystem::path& path);
  CreatedFolders(CreatedFolders&&) = default;
  CreatedFolders& operator=(CreatedFolders&&) = delete;
  ~CreatedFolders();

  void keep() { created_.clear(); }
  // Folders in which a new name appeared, to be made durable.
  std::vector<std::filesystem::path> parents() const;

 private:
  CreatedFolders() = default;

  std::vector<std::filesystem::path> created_;  // top first
};

// A folder of a process's own, removed with all that is in it when this is destroyed. A process that is killed leaves
// it unlocked, and the next one that stages in the same place removes it. Move-only.
class StagingFolder {
 public:
  static constexpr char kPrefix[] = ".dadi.stage-";

  // A new one in `parent`; those of dead processes there are removed. Errors: denied, exhausted, io.
  static Result<StagingFolder> create(const std::filesystem::path& parent);
  StagingFolder(StagingFolder&& other) noexcept
      : path_(std::exchange(other.path_, {})), lock_(std::move(other.lock_)) {}
  StagingFolder& operator=(StagingFolder&&) = delete;
  ~StagingFolder();

  const std::filesystem::path& path() const { return path_; }

 private:
  StagingFolder(std::filesystem::path path, UniqueFd lock) : path_(std::move(path)), lock_(std::move(lock)) {}

  std::filesystem::path path_;
  UniqueFd lock_;  // held for life: says that we are alive
};

}  // namespace dadi::oci
