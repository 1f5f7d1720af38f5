// Writing a committed layer as its data arrives. Format: formats.md, sections 1.3 and 11.
#pragma once

#include <memory>
#include <span>

#include "libformat/blob/byte_stream.h"
#include "libformat/lsmt/header.h"
#include "libformat/lsmt/segment_map.h"

namespace dadi::lsmt {

// Data goes straight on to the sink, in the order of arrival; the index, sorted by device address, follows at the end.
// Data that is overwritten or discarded later stays in the file, unreferenced. The bytes depend on the calls alone.
// Memory: that of the segment map. One thread at a time.
class LayerWriter {
 public:
  // Writes the layer's header to `out`, which must outlive this.
  // Errors: invalid_argument (a virtual size that is not whole sectors or too large, a user tag too long or with a
  // NUL), those of the sink.
  static Result<std::unique_ptr<LayerWriter>> create(ByteSink& out, const LayerInfo& info);

  // Data at sector `at` of the device, over whatever was there. Zeros are data too in here.
  // Errors: invalid_argument (not whole sectors, past the virtual size), those of the sink.
  Result<void> write(Sectors at, std::span<const std::byte> data);

  // Zeros that hide what lies below, without room for them. Errors: invalid_argument (past the virtual size).
  Result<void> write_zeroes(Sectors at, Sectors length);

  // Forgets what this layer said about the range: the layer below shows through.
  // Errors: invalid_argument (past the virtual size).
  Result<void> discard(Sectors at, Sectors length);

  // The index records that finish() would write now, padding not counted. Exact.
  std::uint64_t records() const { return map_.size(); }

  struct Summary {
    Bytes size{};                      // of the layer, everything included
    std::uint64_t records = 0;         // padding not counted
    std::uint64_t zeroed_records = 0;  // among them
    Bytes data{};                      // in the file, unreferenced included
    Bytes unreferenced{};
  };
  // Writes index and trailer. Call at most once, last.
  // Errors: exhausted (more than kMaxRecords), those of the sink.
  Result<Summary> finish();

 private:
  LayerWriter(ByteSink& out, LayerInfo info) : out_(out), info_(std::move(info)) {}

  Result<void> check_range(Sectors at, Sectors length) const;
  Result<std::uint64_t> write_index();

  ByteSink& out_;
  LayerInfo info_;
  SegmentMap map_;
  Sectors cursor_ = kDataStart;  // where the next data goes
};

}  // namespace dadi::lsmt
