// A device whose ext4 file system is in use, or has a journal, as it would be without either.
#pragma once

#include <map>
#include <memory>

#include "libformat/blob/block_reader.h"
#include "libformat/lsmt/sector_set.h"
#include "libfs/writer/block.h"

namespace dadi::fs {

// Whether an ext4 file system is there that has one. Errors: those of the device.
Result<bool> has_journal(const BlockReader& device, const ReadContext& context);

// The file system without files that had lost their names but were in use: they would be gone once it was unmounted.
// And without its journal, if that is asked for: the blocks are free and read as zeros, the inode is as it was never
// used, no backup of the superblock names it. The few blocks of metadata that change are in memory, over the device,
// which is only read. Thread-safe, as the device is.
class SettledDevice final : public BlockReader {
 public:
  // A journal that is a file with a name, or on another device, stays: then the answer is null.
  // REQUIRES: has_journal(), and there is nothing in it to be replayed.
  // Errors: those of the device; corruption and unsupported (libext2fs makes nothing of the file system).
  static Result<std::shared_ptr<const SettledDevice>> without_journal(std::shared_ptr<const BlockReader> device);

  // Of a file system without a journal, which keeps no list of such files on disk: they are looked for where inodes
  // were written. Null: there is none, or nothing that libext2fs can open. Errors: those of the device; corruption.
  static Result<std::shared_ptr<const SettledDevice>> without_nameless(std::shared_ptr<const BlockReader> device,
                                                                       const lsmt::SectorSet& written);

  Sectors size() const override { return device_->size(); }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const override;
  Result<Extent> next_extent(Sectors at) const override;

  // Where it differs from the device, or may.
  lsmt::SectorSet changed() const;

 private:
  class Removal;
  explicit SettledDevice(std::shared_ptr<const BlockReader> device) : device_(std::move(device)) {}

  std::shared_ptr<const BlockReader> device_;
  lsmt::SectorSet freed_;                  // reads as zeros
  std::map<BlockNumber, Block> metadata_;  // over both
};

}  // namespace dadi::fs
