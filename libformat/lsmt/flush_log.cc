#include "libformat/lsmt/flush_log.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "libformat/base/bytes.h"
#include "libformat/base/crc64.h"
#include "libformat/base/endian.h"
#include "libformat/lsmt/record_log.h"
#include "libformat/lsmt/writable_layer.h"

namespace dadi::lsmt {

namespace {

constexpr std::array<char, 8> kMagic = {'D', 'A', 'D', 'I', '\0', 'F', 'L', 'U'};
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kBlock = 4096;

constexpr std::size_t kChecksumAt = 8;
constexpr std::size_t kVersionAt = 16;
constexpr std::size_t kRecordsFieldAt = 20;
constexpr std::size_t kSectorsAt = 24;
constexpr std::size_t kLayerAt = 32;
constexpr std::size_t kNumberAt = 48;
constexpr std::size_t kPlaceAt = 56;
constexpr std::size_t kDataPlaceAt = 64;
constexpr std::size_t kHeadSize = 80;

constexpr std::uint64_t blocks_of(std::uint64_t records, std::uint64_t sectors) {
  return round_up(kHeadSize + records * kRecordSize + sectors * kSectorSize, kBlock);
}

std::uint64_t checksum_of(std::span<const std::byte> flush) {
  return crc64(flush.subspan(kChecksumAt + sizeof(std::uint64_t)));
}

// What begins like a flush of the layer.
struct Head {
  std::uint64_t records;
  std::uint64_t sectors;
  std::uint64_t number;
  std::uint64_t place;
  Sectors data_at;

  std::uint64_t size() const { return blocks_of(records, sectors); }
};

// None: it does not. REQUIRES: raw.size() >= kHeadSize.
Result<std::optional<Head>> decode_head(std::span<const std::byte> raw, const Uuid& layer) {
  if (std::memcmp(raw.data(), kMagic.data(), kMagic.size()) != 0) return std::optional<Head>();
  if (!std::ranges::equal(raw.subspan(kLayerAt, layer.raw.size()), layer.raw)) return std::optional<Head>();
  if (const auto version = load_le<std::uint32_t>(raw, kVersionAt); version != kVersion)
    return Error::unsupported("{}: version {}", kFlushesName, version)
        .with_hint("the dadi that wrote to the layer puts in place what it flushed: open it with that one");
  return Head{.records = load_le<std::uint32_t>(raw, kRecordsFieldAt),
              .sectors = load_le<std::uint32_t>(raw, kSectorsAt),
              .number = load_le<std::uint64_t>(raw, kNumberAt),
              .place = load_le<std::uint64_t>(raw, kPlaceAt),
              .data_at = {load_le<std::uint64_t>(raw, kDataPlaceAt)}};
}

// That a flush goes on where the round ends, and its records lead to its data.
Result<void> check_flush(const Head& head, std::span<const std::byte> records, const LoggedRound& round) {
  if (head.records == 0 || head.place > kMaxLogRecords || head.records > kMaxLogRecords - head.place)
    return Error::corruption("{} records from number {} on", head.records, head.place);
  if (head.data_at < kDataStart || head.data_at > kMaxMoffset || head.sectors > (kMaxMoffset - head.data_at).value)
    return Error::corruption("{} sectors at {}", head.sectors, head.data_at.value);
  if (!round.empty() && (head.place != round.place + round.records.size() / kRecordSize ||
                         head.data_at != round.data_at + whole_sectors(round.data)))
    return Error::corruption("it does not go on where the one before ends");
  for (; !records.empty(); records = records.subspan(kRecordSize)) {
    const Record record = decode_record(records);
    const Segment& segment = record.segment;
    if (record.is_padding() || segment.length.value == 0 || segment.end() > kNowhere ||
        segment.moffset < head.data_at || segment.mend() > head.data_at + Sectors{head.sectors})
      return Error::corruption("a record that is not of its data");
  }
  return {};
}

}  // namespace

// ---- Writing ----

Bytes logged_size(const LoggedFlush& flush) {
  return {blocks_of(flush.records.size(), flush.data.length().value)};
}

std::size_t logged_data_at(const LoggedFlush& flush) {
  return kHeadSize + flush.records.size() * kRecordSize;
}

void encode_flush(const LoggedFlush& flush, const Uuid& layer, std::uint64_t number, std::span<std::byte> out) {
  const std::size_t data_at = logged_data_at(flush);
  std::ranges::fill(out.first(data_at), std::byte{0});
  std::ranges::fill(out.subspan(data_at + to_bytes(flush.data.length()).value), std::byte{0});
  std::memcpy(out.data(), kMagic.data(), kMagic.size());
  store_le(out, kVersionAt, kVersion);
  store_le(out, kRecordsFieldAt, static_cast<std::uint32_t>(flush.records.size()));
  store_le(out, kSectorsAt, static_cast<std::uint32_t>(flush.data.length().value));
  std::ranges::copy(layer.raw, out.begin() + kLayerAt);
  store_le(out, kNumberAt, number);
  store_le(out, kPlaceAt, flush.place);
  store_le(out, kDataPlaceAt, flush.data.begin.value);
  for (std::size_t i = 0; i < flush.records.size(); ++i)
    encode_record(flush.records[i], out.subspan(kHeadSize + i * kRecordSize, kRecordSize));
  store_le(out, kChecksumAt, checksum_of(out));
}

FlushLog::FlushLog(std::shared_ptr<WritableFile> file, const Uuid& layer, Bytes size)
    : file_(std::move(file)), layer_(layer), size_(size), buffer_(kMostLoggedFlush.value) {}

Result<FlushLog> FlushLog::make(WritableFolder& folder, const Uuid& layer, Bytes size) {
  DADI_TRY(auto file, folder.replace(kFlushesName, std::vector<std::byte>(size.value)));
  return FlushLog(std::move(file), layer, size);
}

bool FlushLog::takes(const LoggedFlush& flush) const {
  const Bytes size = logged_size(flush);
  return size <= kMostLoggedFlush && size <= size_ - at_;
}

Result<void> FlushLog::append(const LoggedFlush& flush, const BlobReader& file) {
  const auto out = std::span(buffer_).first(logged_size(flush).value);
  DADI_CHECK(file.read_at(to_bytes(flush.data.begin),
                          out.subspan(logged_data_at(flush), to_bytes(flush.data.length()).value)));
  encode_flush(flush, layer_, ++number_, out);
  DADI_CHECK(file_->write_at(at_, out));
  if (auto synced = file_->sync(); !synced) {
    lost_ = true;
    return synced;
  }
  at_ += Bytes{out.size()};
  return {};
}

// ---- Reading ----

Bytes LoggedRound::records_at() const {
  return {RecordLog::kRecordsAt + place * kRecordSize};
}

Result<LoggedRound> read_flush_log(const BlobReader& file, const Uuid& layer) {
  if (file.size() > kMostFlushLog)
    return Error::corruption("{}: {} bytes, more than {}", kFlushesName, file.size().value, kMostFlushLog.value);
  DADI_TRY(const auto all, read_range(file, {0}, file.size()));
  LoggedRound round;
  std::uint64_t number = 0;
  for (auto raw = std::span(all); raw.size() >= kBlock;) {
    DADI_TRY(const auto head, decode_head(raw, layer));
    if (!head || (!round.empty() && head->number != number + 1)) break;
    if (head->size() > raw.size() || load_le<std::uint64_t>(raw, kChecksumAt) != checksum_of(raw.first(head->size()))) {
      round.torn = true;
      break;
    }
    const auto records = raw.subspan(kHeadSize, head->records * kRecordSize);
    const auto data = raw.subspan(kHeadSize + records.size(), head->sectors * kSectorSize);
    DADI_CHECK(check_flush(*head, records, round).context("{}: flush {}", kFlushesName, head->number));
    if (round.empty()) {
      round.place = head->place;
      round.data_at = head->data_at;
    }
    number = head->number;
    round.records.insert(round.records.end(), records.begin(), records.end());
    round.data.insert(round.data.end(), data.begin(), data.end());
    raw = raw.subspan(head->size());
  }
  return round;
}

Result<void> check_round(const LoggedRound& round, const BlobReader& data, const BlobReader& index) {
  if (to_bytes(round.data_at) > data.size())
    return Error::corruption("{}: data at sector {} is behind the end of {}", kFlushesName, round.data_at.value,
                             kDataName);
  if (round.records_at() > index.size())
    return Error::corruption("{}: record {} is behind the end of {}", kFlushesName, round.place, kIndexName);
  if (index.size() > Bytes{RecordLog::kRecordsAt + kMaxLogRecords * kRecordSize})
    return Error::corruption("{}: more than {} records", kIndexName, kMaxLogRecords);
  // Of its own records the index has each, or its place is empty still; later ones lead to later data.
  const Sectors data_end = round.data_at + whole_sectors(round.data);
  std::vector<std::byte> buffer;
  auto own = std::span(round.records);
  for (Bytes at = round.records_at(); index.size() - at >= Bytes{kRecordSize}; at += Bytes{buffer.size()}) {
    const std::uint64_t left = (index.size() - at).value / kRecordSize * kRecordSize;
    buffer.resize(std::min<std::uint64_t>(left, 65536 * kRecordSize));
    DADI_CHECK(index.read_at(at, buffer));
    for (auto raw = std::span(buffer); !raw.empty(); raw = raw.subspan(kRecordSize)) {
      const Record record = decode_record(raw);
      const bool empty = record.is_padding() || all_zero(raw.first(kRecordSize));
      const bool sound = own.empty() ? record.segment.moffset >= data_end
                                     : std::ranges::equal(raw.first(kRecordSize), own.first(kRecordSize));
      if (!empty && !sound)
        return Error::corruption("{} and {} contradict each other: another program has written to the layer meanwhile",
                                 kFlushesName, kIndexName)
            .with_hint("remove {} to lose what dadi flushed last, and keep what that program wrote", kFlushesName);
      if (!own.empty()) own = own.subspan(kRecordSize);
    }
  }
  return {};
}

Result<void> put_in_place(const LoggedRound& round, WritableFile& data, WritableFile& index) {
  DADI_CHECK(check_round(round, data, index));
  DADI_CHECK(data.write_at(to_bytes(round.data_at), round.data));
  DADI_CHECK(index.write_at(round.records_at(), round.records));
  DADI_CHECK(data.sync());
  return index.sync();
}

}  // namespace dadi::lsmt
