// Files that change, on a disk.
#pragma once

#include <filesystem>
#include <memory>

#include "libformat/base/unique_fd.h"
#include "libformat/blob/writable_file.h"

namespace dadi {

// A folder that this process alone writes to: no other DiskFolder can be open for it at the same time, in any process.
class DiskFolder final : public WritableFolder {
 public:
  // Makes the folder if it is not there; its parent must be. Errors: busy (somebody else has it), denied, not_found,
  // invalid_argument (no folder), io.
  static Result<std::unique_ptr<DiskFolder>> open(const std::filesystem::path& path);

  Result<std::shared_ptr<WritableFile>> open(const std::string& name) override;
  Result<std::shared_ptr<WritableFile>> replace(const std::string& name, std::span<const std::byte> content) override;
  Result<void> remove(const std::string& name) override;
  Bytes block_size() const override { return block_size_; }

 private:
  DiskFolder(std::filesystem::path path, UniqueFd lock, Bytes block_size)
      : path_(std::move(path)), lock_(std::move(lock)), block_size_(block_size) {}

  std::filesystem::path path_;
  UniqueFd lock_;
  Bytes block_size_;
};

}  // namespace dadi
