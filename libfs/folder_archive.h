// A folder of this host as the tar stream of a layer (see PaxWriter).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "libformat/blob/byte_stream.h"

namespace dadi::fs {

struct Owner {
  std::uint32_t user = 0;
  std::uint32_t group = 0;
};

struct FolderArchiveOptions {
  std::string target;                   // where in the image the folder's content goes, as in "opt/app"; "": the root
  std::optional<Owner> owner{Owner{}};  // of everything; none: that of the files
  std::stop_token stop;
};

struct FolderArchive {
  std::uint64_t entries = 0;
  std::vector<std::string> sockets;  // what an archive cannot hold, and was left out: paths in the folder
};

// Writes what is in `folder` to `out`, the names of each directory in the order of their bytes. The stream depends on
// that content, on the modes, times of change, hard links and extended attributes (user.*, file capabilities and access
// control lists), on the owners if they are kept, and on the options; not on the folder's path, the order of the disk,
// devices, inode numbers, the umask or the clock. The folder itself has no entry: what it goes to in the image stays as
// it is there. Symlinks are kept, not followed. Blocking; any thread, each with a folder of its own.
// Errors: not_found, denied, invalid_argument (no folder; a name that is a whiteout's, which would delete), io (what
// changes while it is read), cancelled, those of `out`.
Result<FolderArchive> write_folder_archive(const std::filesystem::path& folder, ByteSink& out,
                                           const FolderArchiveOptions& options);

}  // namespace dadi::fs
