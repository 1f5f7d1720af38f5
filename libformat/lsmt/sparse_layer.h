// The sparse form of a writable layer. Format: formats.md, section 1.5; and what it lacks, below.
#pragma once

#include <memory>
#include <vector>

#include "libformat/lsmt/record_log.h"
#include "libformat/lsmt/sector_set.h"
#include "libformat/lsmt/writable_layer.h"

namespace dadi::lsmt {

// Data lies in the data file at its own place; what is a hole there is not the layer's. Discards are in a log of their
// own: see discard_log.h.
//
// Data wins over that log, so writes are not recorded. A discard is first recorded, then the record synced, and then
// the data punched: the other way round, a power cut could show what lies below. This relies on file systems that do
// not show a new block before all of it is written, as those with a journal do not; and that tell data from holes by
// blocks of at most 4 KiB.
class SparseLayer final : public WritableLayer {
 public:
  static Result<void> make_files(WritableFolder& folder, const LayerInfo& info);
  static Result<std::unique_ptr<WritableLayer>> open(Parts parts);

 private:
  SparseLayer(Parts parts, SegmentMap map, RecordLog log);

  Result<Segment> put(Sectors at, std::span<const std::byte> data) override;
  Result<void> put_zeroes(Sectors at, Sectors length) override;
  Result<std::vector<Segment>> sealed_segments() override;
  Result<std::uint64_t> make_durable(bool for_room) override;
  Bytes garbage() const override { return to_bytes(zeroed_.sectors() + doomed_.sectors()); }

  bool holds_data(Sectors at, Sectors length) const;
  Result<void> check_room(Sectors at, Sectors length) const;
  Result<void> record(const SectorSet& zeroed, const std::vector<Segment>& whole);
  void still_zeroed(SectorRange range, SectorSet& set) const;
  Result<void> punch_doomed();

  RecordLog log_;             // of the thread that flushes
  std::uint64_t rewrite_at_;  // records in the log; of the thread that flushes
  // Guarded by writes_.
  SectorSet zeroed_;  // since the last flush, and not written since
  SectorSet doomed_;  // the same, and recorded: to be punched
};

}  // namespace dadi::lsmt
