// A disk image as a file holds it, and how other programs' formats become one.
#pragma once

#include <filesystem>
#include <memory>
#include <stop_token>

#include "libformat/blob/block_reader.h"
#include "libformat/blob/file_blob.h"

namespace dadi {

// A file, or a block device of this host, sector by sector. The rest of a last sector that is not whole is zeros; holes
// of the file are holes. Thread-safe.
class RawDisk final : public BlockReader {
 public:
  // Errors: those of FileBlob::open(); unsupported (an empty file).
  static Result<std::unique_ptr<RawDisk>> open(const std::filesystem::path& path);

  Sectors size() const override { return {divide_up(file_->size().value, kSectorSize)}; }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const override;
  Result<Extent> next_extent(Sectors at) const override;

 private:
  explicit RawDisk(std::shared_ptr<const FileBlob> file) : file_(std::move(file)) {}

  std::shared_ptr<const FileBlob> file_;
};

// The format of a disk image that is not raw, by its first bytes and as qemu calls it; "": raw, as far as can be told.
// Errors: those of reading; unsupported (an image of a part of which is in other files, which its maker could choose
// freely; a format that is known and not read).
Result<std::string> disk_format(const std::filesystem::path& path);

// Has qemu-img write the image of that format as a raw, sparse file at `raw`.
// Errors: host_lacks (no qemu-img), corruption (it failed: the message is its own), cancelled.
Result<void> convert_to_raw(const std::filesystem::path& path, const std::string& format,
                            const std::filesystem::path& raw, const std::stop_token& stop);

// The kind of file system on a device that is not ext4, as mount names it: xfs, btrfs, erofs, ntfs; "": none of those.
// Errors: those of the device.
Result<std::string> other_file_system(const BlockReader& device, const ReadContext& context);

}  // namespace dadi
