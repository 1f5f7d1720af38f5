// Lists of files, as people write them: which blocks of a file system those who read the files read.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/units.h"
#include "libformat/blob/block_reader.h"

namespace dadi::fs {

// Part of a device.
struct DevicePlace {
  Bytes at{};
  Bytes size{};
};

// What a list stands for. A value type.
struct ListedFiles {
  std::vector<DevicePlace> places;    // whole blocks, in the order of the list; some again and again, some holes
  std::uint64_t files = 0;            // regular ones, each counted once
  std::uint64_t lines = 0;            // that are not empty
  std::uint64_t missing = 0;          // lines that stand for nothing
  std::vector<std::string> examples;  // the first of those
};

// Finds the files of a list on a device with ext4: one path a line, from the root of the file system, with or without a
// slash in front. Nothing is trimmed, and any byte may be in a name; a list in which there is a zero byte is divided by
// those and not by lines (find -print0).
//
// - Each name in a path may be a pattern (see path_pattern.h); "**" is any number of directories, also none, and
//   follows no symlinks. A name that is there as it is written counts too, whatever characters are in it.
// - Symlinks are followed inside the root, also the last one.
// - A directory is everything below it; symlinks there are not followed.
//
// Of a file that is its content, without holes and what is beyond its end; before it comes what leads there: the
// superblock, and the blocks of inodes, directories and extent trees. What one line stands for comes in the order of
// names, byte by byte, each directory's content where its name is.
//
// List and file system may be anybody's. Errors: those of Volume; exhausted (the work, the directories or the places
// are more than any list of use needs); cancelled.
Result<ListedFiles> find_listed_files(const std::shared_ptr<const BlockReader>& device, std::string_view list,
                                      const std::stop_token& stop = {});

}  // namespace dadi::fs
