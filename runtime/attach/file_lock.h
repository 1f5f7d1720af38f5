// A lock on a file, held by an open descriptor: it lives until the last process that has the descriptor ends or closes
// it, however it ends, and passes to a program that inherits the descriptor.
#pragma once

#include <filesystem>
#include <optional>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"

namespace dadi::attach {

// An exclusive open-file-description lock (fcntl, F_OFD_SETLK): of all the kinds, the one that can be asked about
// without being taken. Move-only.
class FileLock {
 public:
  // Makes the file (mode 0600) when it is missing, and waits for the lock. Errors: io, denied.
  static Result<FileLock> take(const std::filesystem::path& path);
  // Nothing when another descriptor holds it. What is taken names nobody until it is signed.
  static Result<std::optional<FileLock>> try_take(const std::filesystem::path& path);
  // Takes over a descriptor that was inherited with the lock.
  static FileLock adopt(UniqueFd fd) { return FileLock(std::move(fd)); }
  // Whether anybody holds it; a missing file is held by nobody.
  static Result<bool> is_held(const std::filesystem::path& path);

  // Writes this process's id into the file, for people and for who must end it.
  Result<void> sign() const;

  int fd() const { return fd_.get(); }

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

}  // namespace dadi::attach
