// Whose blocks these are: from places on the device back to paths.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "libfs/ext4/volume.h"

namespace dadi::fs {

// Which file each block of a file system belongs to; made in one walk of the tree. Some 24 bytes of memory an extent,
// and the paths. Thread-safe.
class FileMap {
 public:
  // Of a file with several links, the path that is met first counts.
  // Errors: those of the volume; corruption (a directory that is in two places); cancelled.
  static Result<FileMap> make(const Volume& volume, const std::stop_token& stop);

  struct Place {
    std::string_view path;  // from the root, a directory's with a slash at the end; "": no file's
    Bytes end;              // of what belongs to the same
  };
  // Whose the device's byte `at` is.
  Place at(Bytes at) const;

 private:
  struct Run {
    std::uint64_t begin = 0;  // blocks
    std::uint64_t end = 0;
    std::uint32_t path = 0;  // index
  };
  class Walk;

  FileMap(std::uint64_t block_size, std::vector<Run> runs, std::vector<std::string> paths);

  std::uint64_t block_size_;
  std::vector<Run> runs_;  // in order, not overlapping
  std::vector<std::string> paths_;
};

}  // namespace dadi::fs
