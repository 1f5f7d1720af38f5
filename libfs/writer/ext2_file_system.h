// libext2fs on a LayerDevice: what of ext4 is left to the library (making a file system, superblock, group descriptors,
// bitmaps and all checksums). Everything the library does not do well, the planner does itself (ext4.md).
#pragma once

#include <ext2fs/ext2fs.h>

#include <array>
#include <memory>

#include "libformat/base/result.h"
#include "libfs/writer/layer_device.h"

namespace dadi::fs {

// How an empty file system is made. The rest of its parameters is fixed (ext4.md, "File-system parameters").
struct FormatOptions {
  Bytes size;                             // of the device; a multiple of the block size
  std::array<std::byte, 16> uuid{};       // of the file system
  std::array<std::byte, 16> hash_seed{};  // of its directories
};

// The smallest and largest device that can be formatted. Above 2 TiB other runtimes cut sector numbers to 32 bits.
inline constexpr Bytes kSmallestDevice{std::uint64_t{1} << 20};
inline constexpr Bytes kLargestDevice{(std::uint64_t{2} << 40) - kBlockSize};

// An error of libext2fs, in words.
Error ext2_error(errcode_t code, const std::string& what);

// An open file system. One thread at a time; the device is borrowed.
class Ext2FileSystem {
 public:
  // Makes an empty file system on `device` and writes all of it there. What comes of it is as if it were opened next,
  // but for the time that reading all bitmaps takes. Errors: invalid_argument (a size that cannot be formatted).
  static Result<Ext2FileSystem> format(LayerDevice& device, const FormatOptions& options);

  // Opens the file system on `device`, bitmaps included. Stale free totals in the superblock, which the reference's
  // images have, are recounted.
  // Errors: corruption, unsupported (block or inode sizes, features), those of the device.
  static Result<Ext2FileSystem> open(LayerDevice& device);

  // The same, of any file system that the library knows: the planner cannot change all of them.
  static Result<Ext2FileSystem> open_any(LayerDevice& device);

  // Writes superblock, descriptors and bitmaps to the device.
  Result<void> flush();

  ext2_filsys get() const { return fs_.get(); }
  ext2_filsys operator->() const { return fs_.get(); }
  bool has_checksums() const { return ext2fs_has_feature_metadata_csum(fs_->super) != 0; }

 private:
  struct Free {
    void operator()(ext2_filsys fs) const;
  };
  explicit Ext2FileSystem(ext2_filsys fs) : fs_(fs) {}

  std::unique_ptr<struct_ext2_filsys, Free> fs_;
};

}  // namespace dadi::fs
