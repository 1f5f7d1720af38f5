// A layer that is written to, on top of a device that is not. Formats: formats.md, sections 1.4 and 1.5.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "libformat/blob/block_reader.h"
#include "libformat/blob/block_writer.h"
#include "libformat/blob/writable_file.h"
#include "libformat/lsmt/header.h"
#include "libformat/lsmt/sector_set.h"
#include "libformat/lsmt/segment_map.h"

namespace dadi::lsmt {

// The files of a writable layer, in a folder of its own.
inline constexpr auto kDataName = "writable_data";
inline constexpr auto kIndexName = "writable_index";        // of a sparse layer: empty; the reference asks for it
inline constexpr auto kDiscardsName = "writable_discards";  // of a sparse layer: see discard_log.h
inline constexpr auto kFlushesName = "writable_flushes";    // of an append-only layer in use: see flush_log.h

enum class WritableForm {
  // Data is appended to one file, a record for each write to another. What is overwritten becomes a hole in the file
  // once enough has gathered. A write of any size takes its own room and no more.
  kAppendOnly,
  // Sector X lies at sector X + 8 of one file, and what is no hole is the layer's. A write of less than 4 KiB takes
  // 4 KiB, the rest of which is copied from below.
  kSparse,
};

struct WritableOptions {
  Bytes limit{};                   // of room taken, in bytes, indexes included; 0: none. Exceeding it is exhausted
  Bytes garbage{64U << 20};        // overwritten data that is given back to the file system together
  std::uint64_t log = 65536;       // records: a log that has these and four times what it needs is written anew
  Bytes flush_log{1U << 20};       // of the file that small flushes go to: see flush_log.h; 0: none
  std::size_t unrecorded = 65536;  // writes that are kept in memory, without a flush, before there is one
};

// Reads give the layer's own sectors, and those of the device below where it has none.
//
// What survives a crash, be it of the process, the system or power: everything whose flush() returned. Of what came
// later, each sector is as before or as written. A flush makes data durable first, and records of it after that, or
// both at once in a file of its own; so a record never leads to data that is not there. Files are those of the
// reference, which opens them, and whose files open here. A sparse layer has a third one, and so does an append-only
// one while it is in use, and after a crash until it is opened.
//
// Thread-safe. Writes happen one at a time. A read waits neither for a write nor for a flush.
class WritableLayer : public BlockReader, public BlockWriter {
 public:
  // Makes a new, empty layer in `folder`, in place of any that is there. A virtual size of 0 is that of `lower`.
  // Errors: invalid_argument (`info`), unsupported (a sparse layer on a file system that has large blocks or cannot
  // punch holes), those of the folder.
  static Result<std::unique_ptr<WritableLayer>> create(std::shared_ptr<WritableFolder> folder, WritableForm form,
                                                       LayerInfo info, std::shared_ptr<const BlockReader> lower,
                                                       const WritableOptions& options);

  // Opens the layer that is in `folder`, and mends what a crash left: see notes().
  // Errors: not_found (none is there), denied (it is sealed), corruption, those of the folder.
  static Result<std::unique_ptr<WritableLayer>> open(std::shared_ptr<WritableFolder> folder,
                                                     std::shared_ptr<const BlockReader> lower,
                                                     const WritableOptions& options);

  Sectors size() const override { return size_; }
  // Errors: those of the files and of the device below; io past the end; would_block as in ReadContext.
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context = {}) const override;
  // Never waits for a file of the layer's.
  Result<Extent> next_extent(Sectors at) const override;

  // exhausted: the limit is reached, or the file system full. What was flushed stays, reads go on, and so do writes
  // once there is room.
  Result<void> write_at(Sectors at, std::span<const std::byte> data) override;
  Result<void> write_zeroes(Sectors at, Sectors length) override;
  // The range reads as zeros.
  Result<void> discard(Sectors at, Sectors length) override { return write_zeroes(at, length); }
  // After a failure of the file system's to make data durable, which leaves nobody knowing what is, this and all writes
  // fail until the layer is opened anew.
  Result<void> flush() override;

  // Flushes, and puts sorted index and trailer behind the data: the data file is then a sealed layer. A crash in
  // between leaves the layer as it was. Writes fail from now on; reads go on. Errors: exhausted, io.
  Result<void> seal();

  const LayerInfo& info() const { return info_; }
  WritableForm form() const { return form_; }
  // What was mended when the layer was opened, for people.
  const std::vector<std::string>& notes() const { return notes_; }

  // Where the layer answers, and not the device below.
  SectorSet own_sectors() const;

  struct Usage {
    Bytes data{};     // that the layer holds
    Bytes garbage{};  // overwritten, and still in the file
    std::uint64_t segments = 0;
  };
  Usage usage() const;

 protected:
  struct Parts {
    std::shared_ptr<WritableFolder> folder;
    std::shared_ptr<const BlockReader> lower;
    std::shared_ptr<WritableFile> data;
    LayerInfo info;
    WritableOptions options;
    std::vector<std::string> notes;
  };
  WritableLayer(WritableForm form, Parts parts, SegmentMap map);

  // What the forms do differently. The first three: REQUIRES: writes_ is held by the caller.
  // Stores data, and says what the map is to hold: the range or more.
  virtual Result<Segment> put(Sectors at, std::span<const std::byte> data) = 0;
  virtual Result<void> put_zeroes(Sectors at, Sectors length) = 0;
  virtual Result<std::vector<Segment>> sealed_segments() = 0;  // what a sealed layer's index is to hold
  // Makes durable what was written when it began, and returns the value of written() then. One thread at a time,
  // without writes_. With `for_room`, gives garbage back even if it is little.
  virtual Result<std::uint64_t> make_durable(bool for_room) = 0;
  virtual Bytes garbage() const = 0;  // REQUIRES: writes_ is held

  std::uint64_t written() const { return written_.load(std::memory_order_acquire); }
  // The map, for a caller that holds writes_.
  const SegmentMap& map() const { return map_; }
  WritableFolder& folder() { return *folder_; }
  WritableFile& data() { return *data_; }
  const WritableOptions& options() const { return options_; }
  // REQUIRES: writes_ is held. Whether writes may go on.
  Result<void> usable() const;
  // Nobody knows any more what is durable.
  Error broken(Error error);
  // Says, before stretches of the data file that the map does not refer to are punched, that reads which looked them up
  // earlier must start again.
  void announce_punch();
  // How many records of unflushed writes there are; a flush is due when they are many.
  void unrecorded(std::size_t records) { overdue_.store(records >= options_.unrecorded, std::memory_order_relaxed); }

  mutable std::mutex writes_;  // held while something is written

 private:
  struct Look;
  Result<void> check(Sectors at, Sectors length) const;
  Look look_up(Sectors at, Sectors end) const;
  Result<void> read_below(Sectors at, std::span<std::byte> out, const ReadContext& context) const;
  Result<void> change(Sectors at, Sectors length, std::span<const std::byte> data);
  Result<void> change_once(Sectors at, Sectors length, std::span<const std::byte> data);
  Result<void> write_seal();

  const WritableForm form_;
  const std::shared_ptr<WritableFolder> folder_;
  const std::shared_ptr<const BlockReader> lower_;
  const std::shared_ptr<WritableFile> data_;
  const LayerInfo info_;
  const Sectors size_;
  const WritableOptions options_;
  const std::vector<std::string> notes_;

  mutable std::mutex lookups_;  // held while map_ is looked at, or, with writes_, changed
  SegmentMap map_;
  std::uint64_t punches_ = 0;                      // announced; guarded by lookups_
  std::atomic<std::uint64_t> punched_before_ = 0;  // the same, for readers that have read
  std::atomic<std::uint64_t> written_ = 0;         // writes so far
  std::atomic<bool> overdue_ = false;
  std::optional<Error> broken_;  // guarded by writes_
  bool sealed_ = false;          // guarded by writes_

  std::mutex flushes_;         // held during a flush
  std::uint64_t durable_ = 0;  // writes; guarded by flushes_
};

}  // namespace dadi::lsmt
