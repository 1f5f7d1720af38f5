// What a superblock says of an ext4 file system, as far as attaching must know it.
#pragma once

#include <optional>
#include <string>

#include "libformat/base/result.h"
#include "libformat/base/units.h"

namespace dadi::attach {

struct Ext4Marks {
  bool unclean = false;  // not unmounted, a journal to be replayed, or known to be faulty
  bool has_journal = false;
  Bytes size;
};

// Those of a block device; none: it holds something else. Errors: those of open() and read().
Result<std::optional<Ext4Marks>> read_ext4_marks(const std::string& device);

}  // namespace dadi::attach
