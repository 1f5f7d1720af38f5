// A device whose ext4 file system has a journal, as it would be without.
#pragma once

#include <map>
#include <memory>

#include "libformat/blob/block_reader.h"
#include "libformat/lsmt/sector_set.h"
#include "libfs/writer/block.h"

namespace dadi::fs {

// Whether an ext4 file system is there that has one. Errors: those of the device.
Result<bool> has_journal(const BlockReader& device, const ReadContext& context);

// The file system without its journal: its blocks are free and read as zeros, its inode is as it was never used, no
// backup of the superblock names it. Files that had lost their names but were in use are gone too: the list of them,
// which only file systems with a journal keep on disk, would have been worked off when it was unmounted. The few blocks
// of metadata that change are in memory, over the device, which is only read. Thread-safe, as the device is.
class JournallessDevice final : public BlockReader {
 public:
  // A journal that is a file with a name, or on another device, stays: then the answer is null.
  // REQUIRES: has_journal(), and there is nothing in it to be replayed.
  // Errors: those of the device; corruption and unsupported (libext2fs makes nothing of the file system).
  static Result<std::shared_ptr<const JournallessDevice>> over(std::shared_ptr<const BlockReader> device);

  Sectors size() const override { return device_->size(); }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const override;
  Result<Extent> next_extent(Sectors at) const override;

  // Where it differs from the device, or may.
  lsmt::SectorSet changed() const;

 private:
  friend class JournalRemoval;
  explicit JournallessDevice(std::shared_ptr<const BlockReader> device) : device_(std::move(device)) {}

  std::shared_ptr<const BlockReader> device_;
  lsmt::SectorSet freed_;                  // reads as zeros
  std::map<BlockNumber, Block> metadata_;  // over both
};

}  // namespace dadi::fs
