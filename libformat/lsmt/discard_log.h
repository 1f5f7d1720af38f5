// What a sparse writable layer has discarded: the format of a file that only we know.
//
// The format of sparse layers forgets discards: a hole that hides what lies below looks like one that does not. So
// there is another file beside the layer's two, which the reference does not look at. It is a log of ranges that read
// as zeros wherever the data file has a hole. What is data there wins, so what the reference writes later is seen.
//
//   0   "DADI\0DSC"       16    the layer's uuid, 16 bytes; a file with another one says nothing of this layer
//   8   u32 version, 1    32    zeros
//   12  u32 0             4096  records as in an index, all zeroed, with the moffset that a sealed sparse layer gives
//   them
#pragma once

#include <cstddef>
#include <vector>

#include "libformat/blob/blob_reader.h"
#include "libformat/lsmt/header.h"

namespace dadi::lsmt {

// What the log of this layer begins with: 4096 bytes.
std::vector<std::byte> discard_log_header(const LayerInfo& info);

// Whether `file` is the log of this layer. Errors: those of the file.
Result<bool> is_discard_log(const BlobReader& file, const LayerInfo& info);

}  // namespace dadi::lsmt
