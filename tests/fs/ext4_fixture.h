// Ext4 images for tests: made by mke2fs and debugfs, held in memory, and judged by e2fsck.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "libformat/blob/block_reader.h"
#include "libfs/ext4/volume.h"

namespace dadi::fs::test {

// Whether mke2fs, debugfs and e2fsck can be run; tests that need them skip if not.
bool have_e2fsprogs();

// Runs a shell command, with the system folders of programs in PATH. Its exit status, and what it printed.
struct CommandResult {
  int status = 0;
  std::string output;
};
CommandResult run(const std::string& command);

// A folder that is removed with everything in it.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A device in memory, or a file of which only what is read is held. Thread-safe.
class MemoryDevice final : public BlockReader {
 public:
  explicit MemoryDevice(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  Sectors size() const override { return whole_sectors(bytes_); }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const override;
  Result<Extent> next_extent(Sectors at) const override;

 private:
  std::vector<std::byte> bytes_;
};

class FileDevice final : public BlockReader {
 public:
  explicit FileDevice(const std::filesystem::path& path);
  ~FileDevice() override;
  FileDevice(const FileDevice&) = delete;
  FileDevice& operator=(const FileDevice&) = delete;

  Sectors size() const override { return size_; }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const override;
  Result<Extent> next_extent(Sectors at) const override;

 private:
  int fd_;
  Sectors size_;
};

std::vector<std::byte> read_bytes(const std::filesystem::path& path);
void write_bytes(const std::filesystem::path& path, std::span<const std::byte> bytes);

// Fills a folder with what file systems are made of: a large directory, a deep one, hardlinks, short and long symlinks,
// files with holes, empty, of one block and of many, odd names.
void fill_source_folder(const std::filesystem::path& folder);
// The same kinds of things, in less than a megabyte.
void fill_small_source_folder(const std::filesystem::path& folder);

// Makes an image of `size` (as mke2fs takes it) from a folder, then runs debugfs commands on it, one a line, and lets
// e2fsck index its directories. Fails the test if the outcome is not clean.
struct ImageRecipe {
  std::string options;  // of mke2fs
  std::string size;
  std::string debugfs = {};
  bool index_directories = false;
};
void make_image(const ImageRecipe& recipe, const std::filesystem::path& source, const std::filesystem::path& image);

// What the planned writer's file systems look like, as options of mke2fs.
extern const char* const kOwnOptions;

// What `e2fsck -fn` makes of an image. Some of its complaints do not show in its exit status: any question that it
// answers with "no", and descriptors that it replaces by their copies, count too.
struct Verdict {
  bool is_clean = false;
  std::string output;
};
Verdict e2fsck(const std::filesystem::path& image);

// The inode at a path; fails the test if there is none.
Inode inode_at(const Volume& volume, std::string_view path);

}  // namespace dadi::fs::test
