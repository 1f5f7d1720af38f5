#include "libformat/lsmt/append_layer.h"

#include <algorithm>
#include <array>
#include <utility>

#include "libformat/base/bytes.h"

namespace dadi::lsmt {

namespace {

std::vector<std::byte> index_header(const LayerInfo& info) {
  const auto raw =
      encode_header({.flags = kIndexHeader, .index_offset = {RecordLog::kRecordsAt}, .index_size = 0, .info = info});
  return {raw.begin(), raw.end()};
}

Result<void> check_index_header(const BlobReader& index) {
  DADI_TRY(const auto raw, read_range(index, {0}, {kHeaderSize}));
  DADI_TRY(const Header header, decode_header(raw));
  if (header.flags != kIndexHeader || header.index_offset != Bytes{RecordLog::kRecordsAt})
    return Error::corruption("flags {:#x}, records at {}", header.flags, header.index_offset.value);
  return {};
}

// The name of a layer is its own, so that no data of a device is taken for its trailer.
Result<bool> is_sealed(const BlobReader& data, const LayerInfo& info) {
  const Bytes size = data.size();
  if (size < Bytes{2 * kHeaderSize}) return false;
  DADI_TRY(const auto raw, read_range(data, size - Bytes{kHeaderSize}, {kHeaderSize}));
  const auto trailer = decode_header(raw);
  return trailer && trailer->flags == kCommittedTrailer && trailer->info == info &&
         trailer->index_size <= kMaxReadRecords &&
         trailer->index_offset.value + round_up(trailer->index_size * kRecordSize, kSectorSize) + kHeaderSize ==
             size.value;
}

// Puts what a crash left of the flush log in place, and removes it.
Result<void> play_flush_log(WritableFolder& folder, const Uuid& layer, WritableFile& data, WritableFile& index,
                            std::vector<std::string>& notes) {
  const auto file = folder.open(kFlushesName);
  if (!file && file.error().code() == ErrorCode::kNotFound) return {};
  DADI_CHECK(file);
  DADI_TRY(const LoggedRound round, read_flush_log(**file, layer));
  if (!round.empty()) DADI_CHECK(put_in_place(round, data, index));
  if (round.torn) notes.push_back(fmt::format("{}: left out a flush that a crash had left unfinished", kFlushesName));
  return folder.remove(kFlushesName);
}

// What records refer to no more.
SectorSet unused(const SegmentMap& map, Sectors end) {
  SectorSet unused;
  unused.insert({kDataStart, end});
  map.for_each([&](const Segment& segment) {
    if (!segment.zeroed) unused.erase({segment.moffset, segment.mend()});
  });
  return unused;
}

}  // namespace

Result<void> AppendLayer::make_files(WritableFolder& folder, const LayerInfo& info) {
  // Without a data file there is no layer yet.
  DADI_CHECK(folder.replace(kIndexName, index_header(info)));
  DADI_CHECK(folder.replace(
      kDataName, encode_header({.flags = kAppendOnlyHeader, .index_offset = {}, .index_size = 0, .info = info})));
  return {};
}

Result<std::unique_ptr<WritableLayer>> AppendLayer::open(Parts parts) {
  DADI_TRY(const bool sealed, is_sealed(*parts.data, parts.info));
  if (sealed) return Error::denied("the writable layer is sealed");
  auto index = parts.folder->open(kIndexName);
  if (!index && index.error().code() == ErrorCode::kNotFound)
    return Error::corruption("a writable layer without its index: {}", index.error().message());
  DADI_CHECK(index);
  DADI_CHECK(check_index_header(**index).context("lsmt log header"));
  DADI_CHECK(play_flush_log(*parts.folder, parts.info.uuid, *parts.data, **index, parts.notes));
  DADI_TRY(LogContent content, play_log(**index, whole_sectors(parts.data->size()), true));
  RecordLog log(*parts.folder, kIndexName, *index, index_header(parts.info), content);
  DADI_TRY(std::string note, log.mend(content));
  if (!note.empty()) parts.notes.push_back(std::move(note));
  if (const Bytes end = to_bytes(content.high); parts.data->size() > end) {
    parts.notes.push_back(
        fmt::format("{}: cut {} bytes that were written but not flushed", kDataName, (parts.data->size() - end).value));
    DADI_CHECK(parts.data->resize(end));
  }
  // What a process that was killed had written is seen from now on, so a power cut must not take it away.
  DADI_CHECK(parts.data->sync());
  DADI_CHECK((*index)->sync());
  return std::unique_ptr<WritableLayer>(new AppendLayer(std::move(parts), std::move(content), std::move(log)));
}

AppendLayer::AppendLayer(Parts parts, LogContent content, RecordLog log)
    : WritableLayer(WritableForm::kAppendOnly, std::move(parts), std::move(content.map)),
      log_(std::move(log)),
      rewrite_at_(options().log),
      may_begin_flush_log_(options().flush_log.value > 0),
      cursor_(content.high),
      flushed_to_(cursor_),
      room_(to_bytes(cursor_)),
      logs_size_(log_.size()),
      dead_(unused(map(), cursor_)) {}

AppendLayer::~AppendLayer() {
  const std::lock_guard lock(writes_);
  if (usable()) static_cast<void>(end_flush_log());  // the next who opens it does it else
}

// ---- Writing ----

Result<void> AppendLayer::check_room(Bytes more) const {
  const Bytes limit = options().limit;
  const Bytes taken = room_ + logs_size_ + Bytes{pending_.size() * kRecordSize};
  if (limit.value > 0 && taken + more + Bytes{kRecordSize} > limit)
    return Error::exhausted("{} more bytes exceed its limit of {}", more.value, limit.value);
  return {};
}

// What the map has of the range will be of no use once the write that takes its place is durable.
void AppendLayer::replaced(Sectors at, Sectors length) {
  map().for_each_in(at, at + length, [this](const Segment& segment) {
    if (!segment.zeroed) dying_.insert({segment.moffset, segment.mend()});
    return true;
  });
}

Result<Segment> AppendLayer::put(Sectors at, std::span<const std::byte> bytes) {
  DADI_CHECK(check_room({bytes.size()}));
  DADI_CHECK(data().write_at(to_bytes(cursor_), bytes));
  const Segment segment{at, whole_sectors(bytes), cursor_, false};
  cursor_ += segment.length;
  room_ += Bytes{bytes.size()};
  replaced(at, segment.length);
  add_record(pending_, segment);
  unrecorded(pending_.size());
  return segment;
}

Result<void> AppendLayer::put_zeroes(Sectors at, Sectors length) {
  DADI_CHECK(check_room({}));
  replaced(at, length);
  add_record(pending_, {at, length, cursor_, true});
  unrecorded(pending_.size());
  return {};
}

// ---- Flushing ----

Result<AppendLayer::Batch> AppendLayer::take_batch() {
  const std::lock_guard lock(writes_);
  DADI_CHECK(usable());
  Batch batch{.written = written(),
              .records = std::move(pending_),
              .whole = {},
              .data = {flushed_to_, cursor_},
              .dying = std::move(dying_)};
  pending_.clear();
  dying_.clear();
  unrecorded(0);
  const std::uint64_t records = log_.records() + batch.records.size();
  if (!batch.records.empty() && records >= rewrite_at_ && records >= 4 * map().size()) batch.whole = map().segments();
  return batch;
}

Result<std::vector<Segment>> AppendLayer::sealed_segments() {
  DADI_CHECK(end_flush_log());
  if (flush_log_) return Error::exhausted("no room for records of what was flushed");
  return map().segments();
}

// Whether the flush log has taken the batch. Errors: nobody knows what is durable.
Result<bool> AppendLayer::log_flush(const Batch& batch) {
  const LoggedFlush flush = batch.at_place(log_.records());
  if (!flush_log_ || !batch.whole.empty() || !flush_log_->takes(flush)) return false;
  if (auto logged = flush_log_->append(flush, data()); !logged) {
    if (flush_log_->lost()) return std::move(logged.error());
    return false;
  }
  log_.add(batch.records);
  return true;
}

// Makes the batch durable in data and log.
Result<void> AppendLayer::record(const Batch& batch) {
  if (auto synced = data().sync(); !synced) return broken(std::move(synced.error()));
  if (!batch.whole.empty()) {
    if (auto ended = end_flush_log(); !ended) return broken(std::move(ended.error()));
    if (!flush_log_ && !stale_flush_log_ && log_.rewrite(batch.whole)) return {};
    rewrite_at_ = 2 * log_.records();  // it goes on as it is
  }
  // What an append that fails leaves in the log must be of no flush that the flush log has.
  if (flush_log_) flush_log_->end_round();
  auto recorded = append_to_log(batch);
  if (!recorded) return log_.lost() ? broken(std::move(recorded.error())) : std::move(recorded.error());
  if (flush_log_) flush_log_->begin_round();
  return {};
}

Result<void> AppendLayer::append_to_log(const Batch& batch) {
  auto recorded = log_.append(batch.records);
  if (recorded || log_.lost() || recorded.error().code() != ErrorCode::kExhausted) return recorded;
  reclaim();
  return log_.append(batch.records);
}

void AppendLayer::settle(Batch& batch, bool recorded) {
  const std::lock_guard lock(writes_);
  if (recorded) {
    dead_.merge(batch.dying);
    flushed_to_ = batch.data.end;
    logs_size_ = logs_size();
    return;
  }
  dying_.merge(batch.dying);
  std::swap(pending_, batch.records);
  pending_.insert(pending_.end(), batch.records.begin(), batch.records.end());
}

Result<std::uint64_t> AppendLayer::make_durable(bool for_room) {
  DADI_TRY(Batch batch, take_batch());
  if (for_room) {
    if (auto ended = end_flush_log(); !ended) return broken(std::move(ended.error()));
    may_begin_flush_log_ = false;
    const std::lock_guard lock(writes_);
    logs_size_ = logs_size();
  }
  if (!batch.records.empty()) {
    auto logged = log_flush(batch);
    if (!logged) return broken(std::move(logged.error()));
    auto recorded = *logged ? Result<void>() : record(batch);
    settle(batch, recorded.has_value());
    DADI_CHECK(std::move(recorded));
    begin_flush_log(batch);
  }
  if (for_room || garbage_due()) reclaim();
  return batch.written;
}

// What fails here fails nobody. REQUIRES: the batch is durable, in data and log if there is no flush log.
void AppendLayer::begin_flush_log(const Batch& batch) {
  const bool small = logged_size(batch.at_place(0)) <= kMostLoggedFlush;
  if (!std::exchange(small_flush_, small) || !small || flush_log_ || !may_begin_flush_log_) return;
  const Bytes size = options().flush_log;
  {
    const std::lock_guard lock(writes_);
    if (!check_room(size)) return;
    logs_size_ += size;
  }
  auto made = FlushLog::make(folder(), info().uuid, size);
  may_begin_flush_log_ = made.has_value();
  if (made) flush_log_ = std::move(*made);
  const std::lock_guard lock(writes_);
  logs_size_ = logs_size();
}

// Everything is durable in data and log, as far as it was flushed, and the flush log gone; or still there, if the log
// has no room. Errors: nobody knows what is durable.
Result<void> AppendLayer::end_flush_log() {
  if (!flush_log_) return {};
  DADI_CHECK(data().sync());
  if (auto synced = log_.sync(); !synced) return log_.lost() ? std::move(synced) : Result<void>();
  flush_log_.reset();
  if (!folder().remove(kFlushesName)) {
    stale_flush_log_ = true;
    may_begin_flush_log_ = false;
  }
  return {};
}

bool AppendLayer::garbage_due() {
  const std::lock_guard lock(writes_);
  return dead_.sectors() >= left_ + whole_sectors(options().garbage);
}

// What fails here fails nobody: garbage stays.
void AppendLayer::reclaim() {
  if (!can_punch_) return;
  SectorSet dead;
  {
    const std::lock_guard lock(writes_);
    std::swap(dead, dead_);
  }
  announce_punch();
  const std::uint64_t block = std::max(folder().block_size().value, kSectorSize);
  SectorSet punched;
  dead.for_each([&](SectorRange range) {
    const Bytes begin{round_up(to_bytes(range.begin).value, block)};
    const Bytes end{to_bytes(range.end).value / block * block};
    if (begin >= end || !can_punch_) return;
    can_punch_ = data().punch(begin, end - begin).has_value();
    if (can_punch_) punched.insert({whole_sectors(begin), whole_sectors(end)});
  });
  punched.for_each([&](SectorRange range) { dead.erase(range); });
  const std::lock_guard lock(writes_);
  room_ -= to_bytes(punched.sectors());
  left_ = dead.sectors();
  dead_.merge(dead);
}

}  // namespace dadi::lsmt
