// Verifying an ext4 file system without changing it: what `e2fsck -fn` looks at, by own means, on hostile input.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "libformat/base/result.h"
#include "libformat/base/units.h"
#include "libformat/blob/block_reader.h"

namespace dadi::fs {

// One thing that is wrong, or worth knowing.
struct CheckFinding {
  std::string place;  // "superblock", "group 3", "inode 12 (/etc/passwd)"
  std::string text;
};

// What a file system holds, counted by following it, not taken from its own totals.
struct CheckFacts {
  Bytes block_size;
  std::uint64_t blocks = 0;
  std::uint64_t blocks_used = 0;  // metadata included
  std::uint32_t inodes = 0;
  std::uint32_t inodes_used = 0;  // reserved ones included
  std::uint64_t directories = 0;
  std::uint64_t files = 0;  // regular
  std::uint64_t symlinks = 0;
  std::uint64_t others = 0;  // devices, fifos, sockets
};

struct CheckReport {
  // The first 100 faults, in the order in which they were found, and how many there were in all.
  std::vector<CheckFinding> faults;
  std::uint64_t fault_count = 0;
  // What is no fault but surprises: stale totals in the superblock, as the reference tools leave them.
  std::vector<CheckFinding> notes;
  CheckFacts facts;

  bool sound() const { return fault_count == 0; }
};

// Checks the file system that starts at the device's first byte. Damage is part of the report, however bad, down to a
// superblock that makes no sense. Memory: a bit a block where blocks are in use and a few dozen bytes for each inode in
// use. Parts that were never initialised are not read, so an empty file system takes milliseconds at any size.
// Errors: unsupported (features that change the layout in ways not known here, more than 2^32 blocks), exhausted (more
// than 2^25 inodes in use, a directory of more than 1 GiB), those of the device.
Result<CheckReport> check_filesystem(std::shared_ptr<const BlockReader> device, const ReadContext& context = {});

}  // namespace dadi::fs
