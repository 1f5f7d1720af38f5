// What small flushes of an append-only writable layer have made durable: the format of a file that only we know.
//
// A flush into data and index syncs two files, the second after the first. One of little data is written once more
// instead, as a whole, to a third file, which the reference does not look at; and one sync of that makes it durable.
// Data and index are written too, but nobody waits for them. Whoever opens the layer after a crash puts what this file
// holds where it belongs, first of all. It says where that is to the byte, so doing it twice is doing it once, and
// doing it after more has been added to both files changes nothing.
//
// The file is one round of flushes after the other, each from the file's beginning, over the round before. A round ends
// when data and index have been synced: then nothing in it is needed any more. A flush begins at a multiple of 4096, so
// that no block that holds one is written again in the same round:
//
//   0   "DADI\0FLU"                                      32   the layer's uuid, 16 bytes
//   8   u64 checksum: CRC-64 of all that follows it      48   u64 number of the flush: one more than that before
//   16  u32 version, 1                                   56   u64 number of its first record in the index's log
//   20  u32 n, its index records, at least 1             64   u64 where its data goes in the data file, in sectors
//   24  u32 p, sectors of data                           72   u64 0
//   28  u32 0                                            80   n records of 16 bytes, p sectors of data, zeros
//
// - A flush that a crash tore does not have its checksum: one in 2^64 does. (2^32, for a CRC-32C, would be met by some
//   host some day; a digest would take a multiple of the time of all else.) It covers every byte of the flush's blocks.
// - Numbers never start again while the file is the same, so a flush of an earlier round does not continue this one.
//   Each who opens a layer makes the file anew, of zeros: no content of an earlier one's is in it.
// - Within a round each flush goes on where the one before ended, in the index and in the data file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "libformat/blob/writable_file.h"
#include "libformat/lsmt/sector_set.h"
#include "libformat/lsmt/segment.h"
#include "libformat/lsmt/uuid.h"

namespace dadi::lsmt {

inline constexpr Bytes kMostLoggedFlush{128U << 10};  // that we write
inline constexpr Bytes kMostFlushLog{16U << 20};      // the file, that is read

// One flush: what its records and data are, and where they belong.
struct LoggedFlush {
  std::uint64_t place = 0;           // in the index's log, of the first record
  std::span<const Segment> records;  // which lead to `data`, all of them
  SectorRange data;                  // of the data file
};

// Bytes that a flush takes, in whole blocks.
Bytes logged_size(const LoggedFlush& flush);

// The blocks of a flush, without its data, which goes to `out` with it. REQUIRES: out.size() is logged_size(); `out`
// has the data at its place, behind the records.
std::size_t logged_data_at(const LoggedFlush& flush);
void encode_flush(const LoggedFlush& flush, const Uuid& layer, std::uint64_t number, std::span<std::byte> out);

// The file, while the layer is written to. One thread at a time.
class FlushLog {
 public:
  // Makes the file, of zeros, so that nothing but content is to be made durable later.
  // Errors: those of the folder. REQUIRES: size <= kMostFlushLog.
  static Result<FlushLog> make(WritableFolder& folder, const Uuid& layer, Bytes size);

  // Whether a flush goes into what is left of the round.
  bool takes(const LoggedFlush& flush) const;

  // Makes a flush durable, with its data, which `file` has. After an error, end the round, as if it were full.
  // Errors: those of the files. REQUIRES: takes(flush).
  Result<void> append(const LoggedFlush& flush, const BlobReader& file);

  // Between the two, nothing is taken: data and index are written in another way.
  void end_round() { at_ = size_; }
  // REQUIRES: all that was appended before is durable in data and index.
  void begin_round() { at_ = {}; }

  Bytes size() const { return size_; }
  // Whether sync() failed: then nobody knows what is durable.
  bool lost() const { return lost_; }

 private:
  FlushLog(std::shared_ptr<WritableFile> file, const Uuid& layer, Bytes size);

  std::shared_ptr<WritableFile> file_;
  Uuid layer_;
  Bytes size_;
  Bytes at_{};
  std::uint64_t number_ = 0;       // of the flush before
  std::vector<std::byte> buffer_;  // made ahead: a flush may be what frees memory
  bool lost_ = false;
};

// What a round holds, flush behind flush: bytes of the two files, and where they belong.
struct LoggedRound {
  std::uint64_t place = 0;         // in the index's log, of the first record
  std::vector<std::byte> records;  // as that has them
  Sectors data_at{};               // in the data file
  std::vector<std::byte> data;
  bool torn = false;  // a flush that a crash left unfinished comes next

  bool empty() const { return records.empty(); }
  Bytes records_at() const;  // in the file of the index
};

// The round in `file` that is of this layer; an empty one if there is none. Takes memory of two times the file's size.
// Errors: corruption (too large; a flush that is whole, and makes no sense), unsupported (another version), those of
// the file.
Result<LoggedRound> read_flush_log(const BlobReader& file, const Uuid& layer);

// That a round that is not empty goes on where the two files end or have it already, and that what they have behind it
// was written by who knew of it. Errors: corruption, those of the files.
Result<void> check_round(const LoggedRound& round, const BlobReader& data, const BlobReader& index);

// Puts a round where it belongs, durably. Errors: those of the files; check_round()'s.
Result<void> put_in_place(const LoggedRound& round, WritableFile& data, WritableFile& index);

}  // namespace dadi::lsmt
