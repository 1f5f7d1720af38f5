// Replies of the transmission phase, as bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/nbd/extents.h"
#include "runtime/nbd/job.h"
#include "runtime/nbd/output.h"
#include "runtime/nbd/protocol.h"

namespace dadi::nbd {

inline constexpr std::size_t kDataHead = kChunkSize + 8;    // in front of data
inline constexpr std::size_t kHoleChunk = kChunkSize + 12;  // stands for zeros

// REQUIRES: `out` has kSimpleReplySize bytes.
void store_simple(std::span<std::byte> out, std::uint64_t cookie, Errno number);
// REQUIRES: `out` has kDataHead bytes. `length`: of the data.
void store_data_head(std::span<std::byte> out, std::uint64_t cookie, std::uint16_t flags, std::uint64_t offset,
                     std::size_t length);
// REQUIRES: `out` has kHoleChunk bytes.
void store_hole(std::span<std::byte> out, std::uint64_t cookie, std::uint16_t flags, std::uint64_t offset,
                std::uint32_t length);

// The whole of a structured reply that says no more than that it went well.
void put_none(Output& out, std::uint64_t cookie);
// The whole of a structured reply that says that it did not.
void put_error(Output& out, std::uint64_t cookie, Errno number);

// What base:allocation says of a range; of much of it, if that takes many descriptors. REQUIRES: the range is not empty
// and lies within the device. Errors: those of the device.
Result<void> put_block_status(Output& out, const Request& request, Extents& extents);

// The bytes that a read needs behind its data so that put_read() finds room for heads.
std::size_t heads_of(std::size_t pieces);
// Those chunks of the reply to a read that can be sent already, if it is to be in chunks. The job's buffer must outlive
// their sending: it is to be pushed to `out`, by put_read() if the read goes well.
void put_filled(Output& out, Job& job);
// The reply to a read whose pieces are filled, or what is left of it: chunks of data and of zeros; or, if it is not to
// be in `chunks`, all of the data behind one head. REQUIRES: the job's buffer has heads_of(pieces) bytes behind the
// data.
void put_read(Output& out, Job& job, bool structured, bool chunks);

}  // namespace dadi::nbd
