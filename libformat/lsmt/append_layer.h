// The append-only form of a writable layer. Format: formats.md, section 1.4.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "libformat/lsmt/flush_log.h"
#include "libformat/lsmt/record_log.h"
#include "libformat/lsmt/sector_set.h"
#include "libformat/lsmt/writable_layer.h"

namespace dadi::lsmt {

// Data goes to the end of the data file, and a record of it waits in memory. A flush syncs the data, then writes the
// records to the log, and syncs that. So a record in the log always leads to data that is there, and records of one
// flush may be lost in any number and order.
//
// When flushes of little follow each other, they go to the flush log (flush_log.h), whose one sync makes data and
// records durable at once. Only then are the records written to the log, which is not synced. When a flush is not of
// little, or the flush log has no room left, it goes to data and log as ever; that makes durable there what went to the
// flush log before, which begins anew. The flush log goes when its room is needed, before the log is written anew
// (records have other places then), and at the end.
//
// What was overwritten is punched out of the data file once the records of what overwrote it are durable, and enough
// has gathered: the file gets longer, but takes no more room. Blocks of the file system in which something is still in
// use stay. The log is written anew, of what is in use alone, when it has grown to many times that.
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
    SectorRange data;            // of the data file
    SectorSet dying;

    // As the flush log takes it.
    LoggedFlush at_place(std::uint64_t place) const { return {.place = place, .records = records, .data = data}; }
  };
  Result<Batch> take_batch();
  Result<bool> log_flush(const Batch& batch);
  Result<void> record(const Batch& batch);
  Result<void> append_to_log(const Batch& batch);
  void settle(Batch& batch, bool recorded);
  void begin_flush_log(const Batch& batch);
  Result<void> end_flush_log();
  Bytes logs_size() const { return log_.size() + (flush_log_ ? flush_log_->size() : Bytes{}); }
  bool garbage_due();
  void reclaim();

  Result<void> check_room(Bytes more) const;
  void replaced(Sectors at, Sectors length);

  // Of the thread that flushes.
  RecordLog log_;
  std::uint64_t rewrite_at_;  // records in the log
  bool can_punch_ = true;
  std::optional<FlushLog> flush_log_;
  bool may_begin_flush_log_;
  bool stale_flush_log_ = false;  // one could not be removed: records in the log must keep their places
  bool small_flush_ = false;      // the last

  // Guarded by writes_.
  Sectors cursor_;                // where the next data goes
  Sectors flushed_to_;            // where it was at the last flush
  Bytes room_{};                  // that data and garbage take
  Bytes logs_size_{};             //
  std::vector<Segment> pending_;  // records of what was written since the last flush
  SectorSet dying_;               // of the data file: overwritten since the last flush
  SectorSet dead_;                // the same, and nothing brings it back
  Sectors left_{};                // of dead_, what could not be punched because its blocks are in use
};

}  // namespace dadi::lsmt
