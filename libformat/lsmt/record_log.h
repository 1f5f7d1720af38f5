// A file of segments in the order of their writes: 4096 bytes of header, then records. Format: formats.md, section 1.4.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "libformat/blob/writable_file.h"
#include "libformat/lsmt/segment.h"
#include "libformat/lsmt/segment_map.h"

namespace dadi::lsmt {

inline constexpr std::uint64_t kMaxLogRecords = 128000000;  // the reference's limit

// What a log says when every record is played, the later over the earlier.
struct LogContent {
  SegmentMap map;
  std::uint64_t records = 0;        // whole ones, of any kind, up to the last that is not padding
  std::uint64_t places = 0;         // for records in the file, padding at the end included
  Sectors high = kDataStart;        // where the data that records refer to ends, played over or not
  std::vector<std::uint64_t> torn;  // numbers of records that were written, or whose data was, in part
};

// Plays the log in `file`, whose records point into a data file of `limit` whole sectors. A record that is cut off at
// the end is left out: its write never completed. With `may_be_torn`, so are records of zeros, and those whose data is
// past the limit: what a crash leaves; without, the former are skipped, as ever, and the latter are corruption. Errors:
// corruption (a record that makes no sense), those of the file.
Result<LogContent> play_log(const BlobReader& file, Sectors limit, bool may_be_torn);

// A log that is added to. It grows by padding, some thousand records at a time, which the format knows, and which
// are written over: a sync of what was there already has no change of the file's size to make durable, and takes a
// fraction of the time. One thread at a time.
class RecordLog {
 public:
  // `header` is what the file begins with, if it is written anew.
  RecordLog(WritableFolder& folder, std::string name, std::shared_ptr<WritableFile> file, std::vector<std::byte> header,
            const LogContent& content)
      : folder_(folder),
        name_(std::move(name)),
        file_(std::move(file)),
        header_(std::move(header)),
        records_(content.records),
        places_(content.places) {}

  // Removes torn records from the end, and makes padding of those in between. What is done is durable.
  // Returns what was done, for people; "" for nothing.
  Result<std::string> mend(const LogContent& content);

  // Adds records; then they are durable. After an error that is `exhausted`, the log is as before, and goes on.
  // Errors: those of the file.
  Result<void> append(const std::vector<Segment>& segments);

  // Adds records that are durable elsewhere until the next append() or sync() of this one. What the file does not take
  // now is written then.
  void add(const std::vector<Segment>& segments);

  // All that was added is durable. Errors: those of the file.
  Result<void> sync();

  // Makes the log anew, of these alone: durable, and whole or not at all. After an error it is as before.
  Result<void> rewrite(const std::vector<Segment>& segments);

  std::uint64_t records() const { return records_; }
  Bytes size() const { return {kRecordsAt + places_ * kRecordSize}; }  // of the file
  // Whether sync() failed: then nobody knows what is durable.
  bool lost() const { return lost_; }

  static constexpr std::uint64_t kRecordsAt = 4096;

 private:
  Result<void> write_added();

  WritableFolder& folder_;
  std::string name_;
  std::shared_ptr<WritableFile> file_;
  std::vector<std::byte> header_;
  std::uint64_t records_;
  std::uint64_t places_;
  std::vector<Segment> added_;  // the last of the records, which are not in the file yet
  bool lost_ = false;
};

// Adds a write to those that wait to be recorded: as several records if it is long, as part of the last one if it goes
// on where that ends.
void add_record(std::vector<Segment>& segments, Segment added);

}  // namespace dadi::lsmt
