// A file that appears whole under its name, or not at all.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>

#include "libformat/base/result.h"
#include "libformat/base/unique_fd.h"
#include "libformat/base/units.h"

namespace dadi {

// Written at random under a temporary name in the destination's folder; what is never written is a hole. publish()
// fsyncs and renames it over whatever regular file had the name; destroyed unpublished, it is removed. One thread at a
// time.
class NewFile {
 public:
  // Errors: invalid_argument (the path exists and is no regular file), those of creating a file.
  static Result<std::unique_ptr<NewFile>> create(const std::filesystem::path& path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  Result<void> write_at(Bytes offset, std::span<const std::byte> data);
  // Makes the file `size` long and durable, and gives it its name. Call at most once.
  Result<void> publish(Bytes size);

 private:
  NewFile(std::filesystem::path path, std::filesystem::path temporary, UniqueFd fd)
      : path_(std::move(path)), temporary_(std::move(temporary)), fd_(std::move(fd)) {}

  std::filesystem::path path_;
  std::filesystem::path temporary_;  // empty once published
  UniqueFd fd_;
};

// Errors: invalid_argument when `path` exists and is not a regular file, which a rename would replace.
Result<void> check_replaceable(const std::filesystem::path& path);

// The folder of a path, "." for a bare name.
std::filesystem::path folder_of(const std::filesystem::path& path);

}  // namespace dadi
