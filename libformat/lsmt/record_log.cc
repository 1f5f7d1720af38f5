#include "libformat/lsmt/record_log.h"

#include <algorithm>
#include <bit>

#include "libformat/base/bytes.h"

namespace dadi::lsmt {

namespace {

constexpr std::size_t kRecordsRead = 65536;
constexpr std::uint64_t kLeastGrowth = 256;  // records: 4 KiB
constexpr std::uint64_t kMostGrowth = 4096;

// Whether a crash can have left such a record.
bool is_torn(const Segment& segment, std::span<const std::byte> raw, Sectors limit) {
  return all_zero(raw) || (segment.moffset >= kDataStart && segment.mend() > limit);
}

Result<void> check_record(const Segment& segment, Sectors limit) {
  if (segment.end() > kNowhere) return Error::corruption("ends at sector {}", segment.end().value);
  return check_place(segment, limit);
}

std::vector<std::byte> encode(const std::vector<Segment>& segments) {
  std::vector<std::byte> raw(segments.size() * kRecordSize);
  for (std::size_t i = 0; i < segments.size(); ++i)
    encode_record(segments[i], std::span(raw).subspan(i * kRecordSize, kRecordSize));
  return raw;
}

}  // namespace

Result<LogContent> play_log(const BlobReader& file, Sectors limit, bool may_be_torn) {
  const Bytes size = file.size();
  if (size < Bytes{RecordLog::kRecordsAt}) return Error::corruption("lsmt log: {} bytes are too few", size.value);
  LogContent content;
  content.places = (size - Bytes{RecordLog::kRecordsAt}).value / kRecordSize;
  if (content.places > kMaxLogRecords)
    return Error::corruption("lsmt log: {} records, more than {}", content.places, kMaxLogRecords);
  std::vector<std::byte> buffer;
  for (std::uint64_t number = 0; number < content.places;) {
    buffer.resize(std::min<std::uint64_t>(content.places - number, kRecordsRead) * kRecordSize);
    DADI_CHECK(file.read_at({RecordLog::kRecordsAt + number * kRecordSize}, buffer));
    for (auto raw = std::span<const std::byte>(buffer); !raw.empty(); raw = raw.subspan(kRecordSize), ++number) {
      const Record record = decode_record(raw);
      if (record.is_padding()) continue;
      if (may_be_torn && is_torn(record.segment, raw.first(kRecordSize), limit)) {
        content.torn.push_back(number);
        continue;
      }
      content.records = number + 1;
      if (record.segment.length.value == 0) continue;
      DADI_CHECK(check_record(record.segment, limit).context("lsmt log record {}", number));
      content.map.insert(record.segment);
      content.high = std::max(content.high, record.segment.mend());
    }
  }
  return content;
}

Result<std::string> RecordLog::mend(const LogContent& content) {
  if (content.torn.empty() && file_->size() == size()) return std::string();
  std::array<std::byte, kRecordSize> padding{};
  encode_padding(padding);
  for (const std::uint64_t number : content.torn)
    DADI_CHECK(file_->write_at({kRecordsAt + number * kRecordSize}, padding));
  DADI_CHECK(file_->resize(size()));
  // Before anything is added: else a second crash could bring back what was cut, behind it.
  DADI_CHECK(file_->sync());
  return fmt::format("{}: removed what a crash had left of unfinished records", name_);
}

// After an error the file's records are as before; what is behind them is of no account.
Result<void> RecordLog::write_added() {
  if (added_.empty()) return {};
  const std::uint64_t first = records_ - added_.size();
  auto raw = encode(added_);
  std::uint64_t places = places_;
  if (records_ > places) {
    places = round_up(records_, std::clamp(std::bit_floor(first + 1), kLeastGrowth, kMostGrowth));
    raw.resize((places - first) * kRecordSize);
    for (std::uint64_t i = added_.size(); i < places - first; ++i)
      encode_padding(std::span(raw).subspan(i * kRecordSize, kRecordSize));
  }
  DADI_CHECK(file_->write_at({kRecordsAt + first * kRecordSize}, raw));
  places_ = places;
  added_.clear();
  return {};
}

void RecordLog::add(const std::vector<Segment>& segments) {
  added_.insert(added_.end(), segments.begin(), segments.end());
  records_ += segments.size();
  static_cast<void>(write_added());  // sync() tries again
}

Result<void> RecordLog::sync() {
  DADI_CHECK(write_added());
  auto synced = file_->sync();
  lost_ = lost_ || !synced;
  return synced;
}

Result<void> RecordLog::append(const std::vector<Segment>& segments) {
  if (segments.empty()) return {};
  added_.insert(added_.end(), segments.begin(), segments.end());
  records_ += segments.size();
  if (auto written = write_added(); !written) {
    added_.resize(added_.size() - segments.size());
    records_ -= segments.size();
    return written;
  }
  return sync();
}

Result<void> RecordLog::rewrite(const std::vector<Segment>& segments) {
  std::vector<std::byte> content = header_;
  const auto records = encode(segments);
  content.insert(content.end(), records.begin(), records.end());
  DADI_TRY(file_, folder_.replace(name_, content));
  records_ = places_ = segments.size();
  added_.clear();
  return {};
}

void add_record(std::vector<Segment>& segments, Segment added) {
  if (!segments.empty()) {
    Segment& last = segments.back();
    if (last.end() == added.offset && last.mend() == added.moffset && last.zeroed == added.zeroed) {
      const Sectors more = std::min(added.length, kMaxMergedLength - std::min(last.length, kMaxMergedLength));
      last.length += more;
      added.offset += more;
      added.length -= more;
      if (!added.zeroed) added.moffset += more;
    }
  }
  while (added.length.value > 0) {
    const Sectors part = std::min(added.length, kMaxMergedLength);
    segments.push_back({added.offset, part, added.moffset, added.zeroed});
    added.offset += part;
    added.length -= part;
    if (!added.zeroed) added.moffset += part;
  }
}

}  // namespace dadi::lsmt
