// The append-only form of a writable layer. Format: formats.md, section 1.4.
#pragma once

#include <memory>
#include <vector>

#include "libformat/lsmt/record_log.h"
#include "libformat/lsmt/sector_set.h"
#include "libformat/lsmt/writable_layer.h"

namespace dadi::lsmt {

// Data goes to the end of the data file, and a record of it waits in memory. A flush syncs the data, then writes the
// records to the log, and syncs that. So a record in the log always leads to data that is there, and records of one
// flush may be lost in any number and order.
//
// What was overwritten is punched out of the data file once the records of what overwrote it are durable, and enough
// has gathered: the file gets longer, but takes no more room. Blocks of the file system in which something is still in
// use stay. When flushes of little follow each other, zeros are written ahead, so that the file's size need not be made
// durable each time; what is left of them at the end is cut off. The log is written anew, of what is in use alone, when
// it has grown to many times that.
class AppendLayer final : public WritableLayer {
 public:
  static Result<void> make_files(WritableFolder& folder, const LayerInfo& info);
  static Result<std::unique_ptr<WritableLayer>> open(Parts parts);
  ~AppendLayer() override;

 private:
  AppendLayer(Parts parts, LogContent content, RecordLog log);

  Result<Segment> put(Sectors at, std::span<const std::byte> data) override;
  Result<void> put_zeroes(Sectors at, Sectors length) override;
  Result<std::vector<Segment>> sealed_segments() override;
  Result<std::uint64_t> make_durable(bool for_room) override;
  Bytes garbage() const override { return to_bytes(dying_.sectors() + dead_.sectors()); }

  // What a flush takes along.
  struct Batch {
    std::uint64_t written = 0;
    std::vector<Segment> records;
    std::vector<Segment> whole;  // all that the log is to hold; none: it is added to
    SectorSet dying;
  };
  Result<Batch> take_batch();
  Result<void> record(const Batch& batch);
  void settle(Batch& batch, bool recorded);
  bool garbage_due();
  void reclaim();

  Result<void> check_room(Bytes more) const;
  void write_ahead();
  Result<void> cut_ahead();
  void replaced(Sectors at, Sectors length);

  // Of the thread that flushes.
  RecordLog log_;
  std::uint64_t rewrite_at_;  // records in the log
  bool can_punch_ = true;

  // Guarded by writes_.
  Sectors cursor_;                // where the next data goes
  Sectors flushed_to_;            // where it was at the last flush
  Sectors ahead_;                 // where the file ends, if that is later
  bool small_flush_ = false;      // the last
  Bytes room_{};                  // that data and garbage take
  Bytes log_size_{};              //
  std::vector<Segment> pending_;  // records of what was written since the last flush
  SectorSet dying_;               // of the data file: overwritten since the last flush
  SectorSet dead_;                // the same, and nothing brings it back
  Sectors left_{};                // of dead_, what could not be punched because its blocks are in use
};

}  // namespace dadi::lsmt
