// Files by name, in a folder or in a tar archive: what layouts and saved images are read from. Internal to this folder.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "libformat/blob/blob_reader.h"

namespace dadi::oci {

// Thread-safe.
class FileTree {
 public:
  virtual ~FileTree() = default;

  // The regular file of that name, links followed. Errors: not_found, corruption (no regular file), io.
  virtual Result<SharedBlob> open(std::string_view name) const = 0;
  virtual bool contains(std::string_view name) const = 0;
};

// Names below a folder. REQUIRES of callers: names are their own, never out of a document.
class FolderTree final : public FileTree {
 public:
  explicit FolderTree(std::filesystem::path folder) : folder_(std::move(folder)) {}

  Result<SharedBlob> open(std::string_view name) const override;
  bool contains(std::string_view name) const override;

 private:
  std::filesystem::path folder_;
};

// The members of a tar archive, read in place. Headers are walked once, when it is opened: v7, ustar, pax and GNU.
// Names may come from anywhere: they only ever meet the names of members. The last member of a name counts.
class TarTree final : public FileTree {
 public:
  // Errors: corruption (not a tar archive, or cut short: the place is named), unsupported (compressed, sparse members,
  // names of more than 64 MiB in all), those of the blob.
  static Result<std::unique_ptr<TarTree>> open(SharedBlob archive);

  Result<SharedBlob> open(std::string_view name) const override;
  bool contains(std::string_view name) const override;

 private:
  class Walk;
  struct Member {
    Bytes offset;
    Bytes size;
    std::string link;  // of a link: the member it means
  };
  using Members = std::map<std::string, Member, std::less<>>;

  TarTree(SharedBlob archive, Members members) : archive_(std::move(archive)), members_(std::move(members)) {}

  SharedBlob archive_;
  Members members_;
};

// A small file as a whole. Errors: those of open(); corruption (larger than `limit`).
Result<std::vector<std::byte>> read_file(const FileTree& tree, std::string_view name, Bytes limit);

}  // namespace dadi::oci
