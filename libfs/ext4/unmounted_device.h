// A device whose ext4 file system is frozen, as it would be if the file system had been unmounted.
#pragma once

#include <array>
#include <memory>

#include "libformat/blob/block_reader.h"
#include "libformat/lsmt/sector_set.h"
#include "libfs/ext4/layout.h"

namespace dadi::fs {

// The kernel says in a superblock that a file system is mounted, frozen or not, by a missing flag; everything else is
// as after unmounting. Here the flag is set. Thread-safe, as the device is.
class UnmountedDevice final : public BlockReader {
 public:
  // The superblock is read now. A device with anything else than ext4 is as it is. Errors: those of the device.
  static Result<std::shared_ptr<const BlockReader>> over(std::shared_ptr<const BlockReader> frozen,
                                                         const ReadContext& context);

  Sectors size() const override { return frozen_->size(); }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const override;
  Result<Extent> next_extent(Sectors at) const override { return frozen_->next_extent(at); }

  // Where it may differ from the device, if it does.
  static lsmt::SectorRange changed();

 private:
  using Superblock = std::array<std::byte, layout::kSuperblockSize>;
  UnmountedDevice(std::shared_ptr<const BlockReader> frozen, const Superblock& superblock)
      : frozen_(std::move(frozen)), superblock_(superblock) {}

  std::shared_ptr<const BlockReader> frozen_;
  Superblock superblock_;
};

}  // namespace dadi::fs
