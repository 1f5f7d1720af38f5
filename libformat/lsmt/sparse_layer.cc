#include "libformat/lsmt/sparse_layer.h"

#include <algorithm>

#include "libformat/lsmt/discard_log.h"

namespace dadi::lsmt {

namespace {

constexpr Sectors kBlock{8};  // in which the file system tells data from holes: 4 KiB, or a part of that
constexpr Sectors place_of(Sectors at) {
  return at + kDataStart;
}
constexpr Segment zeros(SectorRange range) {
  return {range.begin, range.length(), place_of(range.begin), true};
}

// The log of discards; made, where there is none of this layer.
Result<RecordLog> open_discards(WritableFolder& folder, const LayerInfo& info, LogContent& content) {
  const auto header = discard_log_header(info);
  auto file = folder.open(kDiscardsName);
  if (!file && file.error().code() != ErrorCode::kNotFound) return std::move(file.error());
  bool ours = false;
  if (file) {
    DADI_TRY(ours, is_discard_log(**file, info));
  }
  if (!ours) {
    DADI_TRY(file, folder.replace(kDiscardsName, header));
  }
  DADI_TRY(content, play_log(**file, kNowhere, true));
  return RecordLog(folder, kDiscardsName, *file, header, content);
}

// What the data file has, over what the log says.
Result<void> add_data(SegmentMap& map, const WritableFile& file, Sectors size) {
  const Bytes end = to_bytes(place_of(size));
  for (Bytes at = to_bytes(kDataStart); at < end;) {
    DADI_TRY(const auto data, file.next_data(at));
    if (!data || data->begin >= end) break;
    const Sectors begin = whole_sectors(std::max(data->begin, at));
    const Sectors until = std::min(whole_sectors(data->end), place_of(size));
    if (begin >= until) return Error::corruption("data at {} is not whole sectors", data->begin.value);
    map.insert({.offset = begin - kDataStart, .length = until - begin, .moffset = begin});
    at = data->end;
  }
  return {};
}

}  // namespace

Result<void> SparseLayer::make_files(WritableFolder& folder, const LayerInfo& info) {
  if (folder.block_size() > to_bytes(kBlock))
    return Error::unsupported("a sparse layer on a file system with blocks of {} bytes", folder.block_size().value)
        .with_hint("use the append-only form");
  DADI_CHECK(folder.replace(kIndexName, {}));
  DADI_CHECK(folder.replace(kDiscardsName, discard_log_header(info)));
  DADI_TRY(const auto data,
           folder.replace(kDataName,
                          encode_header({.flags = kSparseHeader, .index_offset = {}, .index_size = 0, .info = info})));
  DADI_CHECK(data->resize(to_bytes(place_of(whole_sectors(info.virtual_size)))));
  DADI_CHECK(data->punch(to_bytes(kDataStart), to_bytes(kBlock)).context("a sparse layer"));
  return data->sync();
}

Result<std::unique_ptr<WritableLayer>> SparseLayer::open(Parts parts) {
  const Sectors size = parts.info.virtual_size.value > 0 ? whole_sectors(parts.info.virtual_size) : parts.lower->size();
  const Bytes end = to_bytes(place_of(size));
  if (const Bytes there = parts.data->size(); there > end) {
    DADI_TRY(const auto raw, read_range(*parts.data, there - Bytes{kHeaderSize}, {kHeaderSize}));
    const auto trailer = decode_header(raw);
    if (trailer && trailer->flags == kSealedSparseTrailer && trailer->info == parts.info)
      return Error::denied("the writable layer is sealed");
    parts.notes.push_back(fmt::format("{}: cut {} bytes behind the device's end", kDataName, (there - end).value));
  }
  if (parts.data->size() != end) {
    DADI_CHECK(parts.data->resize(end));
    DADI_CHECK(parts.data->sync());
  }
  LogContent content;
  DADI_TRY(RecordLog log, open_discards(*parts.folder, parts.info, content));
  DADI_TRY(std::string note, log.mend(content));
  if (!note.empty()) parts.notes.push_back(std::move(note));
  SegmentMap map = std::move(content.map);
  map.erase(size, kNowhere - size);
  DADI_CHECK(add_data(map, *parts.data, size));
  return std::unique_ptr<WritableLayer>(new SparseLayer(std::move(parts), std::move(map), std::move(log)));
}

SparseLayer::SparseLayer(Parts parts, SegmentMap map, RecordLog log)
    : WritableLayer(WritableForm::kSparse, std::move(parts), std::move(map)),
      log_(std::move(log)),
      rewrite_at_(options().log) {}

// ---- Writing ----

bool SparseLayer::holds_data(Sectors at, Sectors length) const {
  Sectors found{};
  map().for_each_in(at, at + length, [&](const Segment& segment) {
    if (!segment.zeroed) found += segment.length;
    return !segment.zeroed;
  });
  return found == length;
}

Result<void> SparseLayer::check_room(Sectors at, Sectors length) const {
  if (options().limit.value == 0) return {};
  Sectors there{};
  map().for_each_in(at, at + length, [&](const Segment& segment) {
    if (!segment.zeroed) there += segment.length;
    return true;
  });
  const Bytes taken = to_bytes(map().data() + kDataStart) + garbage();
  if (taken + to_bytes(length - there) > options().limit)
    return Error::exhausted("{} more bytes exceed its limit of {}", to_bytes(length - there).value,
                            options().limit.value);
  return {};
}

Result<Segment> SparseLayer::put(Sectors at, std::span<const std::byte> bytes) {
  SectorRange range{at, at + whole_sectors(bytes)};
  // Blocks at the edges become data as a whole: what they held so far must come along, if it is not data already.
  const Sectors first{range.begin.value / kBlock.value * kBlock.value};
  const Sectors last = std::min(Sectors{round_up(range.end.value, kBlock.value)}, size());
  if (!holds_data(first, range.begin - first)) range.begin = first;
  if (!holds_data(range.end, last - range.end)) range.end = last;
  DADI_CHECK(check_room(range.begin, range.length()));
  std::vector<std::byte> whole;
  if (to_bytes(range.length()).value != bytes.size()) {
    whole.resize(to_bytes(range.length()).value);
    const std::size_t before = to_bytes(at - range.begin).value;
    const std::size_t behind = before + bytes.size();
    DADI_CHECK(read_at(range.begin, std::span(whole).first(before)));
    DADI_CHECK(read_at(at + whole_sectors(bytes), std::span(whole).subspan(behind)));
    std::ranges::copy(bytes, whole.begin() + static_cast<std::ptrdiff_t>(before));
    bytes = whole;
  }
  DADI_CHECK(data().write_at(to_bytes(place_of(range.begin)), bytes));
  zeroed_.erase(range);
  doomed_.erase(range);
  return Segment{range.begin, range.length(), place_of(range.begin), false};
}

Result<void> SparseLayer::put_zeroes(Sectors at, Sectors length) {
  zeroed_.insert({at, at + length});
  unrecorded(zeroed_.size());
  return {};
}

// ---- Flushing ----

Result<void> SparseLayer::record(const SectorSet& zeroed, const std::vector<Segment>& whole) {
  if (!whole.empty()) {
    // Ranges that hold data now are left out, so the data has to be there.
    if (auto synced = data().sync(); !synced) return broken(std::move(synced.error()));
    if (log_.rewrite(whole)) return {};
    rewrite_at_ = 2 * log_.records();  // it goes on as it is
  }
  std::vector<Segment> records;
  zeroed.for_each([&](SectorRange range) {
    for (const Sectors end = range.end; range.begin < end; range.begin = range.end) {
      range.end = std::min(end, range.begin + kMaxLength);
      records.push_back(zeros(range));
    }
  });
  auto recorded = log_.append(records);
  if (!recorded && log_.lost()) return broken(std::move(recorded.error()));
  return recorded;
}

// No write may come in between: what is punched is not to be data again.
Result<void> SparseLayer::punch_doomed() {
  const std::lock_guard lock(writes_);
  if (doomed_.empty()) return {};
  announce_punch();
  Result<void> punched;
  doomed_.for_each([&](SectorRange range) {
    if (punched) punched = data().punch(to_bytes(place_of(range.begin)), to_bytes(range.length()));
  });
  if (punched) doomed_.clear();
  return punched;
}

Result<std::uint64_t> SparseLayer::make_durable(bool /*for_room*/) {
  SectorSet zeroed;
  std::vector<Segment> whole;
  std::uint64_t until = 0;
  {
    const std::lock_guard lock(writes_);
    DADI_CHECK(usable());
    until = written();
    std::swap(zeroed, zeroed_);
    unrecorded(0);
    const std::uint64_t records = log_.records() + zeroed.size();
    if (!zeroed.empty() && records >= rewrite_at_ && records >= 4 * map().zeroed_size()) {
      map().for_each([&](const Segment& segment) {
        if (segment.zeroed) whole.push_back(zeros({segment.offset, segment.end()}));
      });
    }
  }
  if (!zeroed.empty()) {
    auto recorded = record(zeroed, whole);
    const std::lock_guard lock(writes_);
    // What was written meanwhile is in neither set, and stays out of both.
    zeroed.for_each([&](SectorRange range) { still_zeroed(range, recorded ? doomed_ : zeroed_); });
    DADI_CHECK(std::move(recorded));
  }
  DADI_CHECK(punch_doomed());
  if (auto synced = data().sync(); !synced) return broken(std::move(synced.error()));
  return until;
}

// The parts of a range that read as zeros still.
void SparseLayer::still_zeroed(SectorRange range, SectorSet& set) const {
  map().for_each_in(range.begin, range.end, [&](const Segment& segment) {
    if (segment.zeroed) set.insert({segment.offset, segment.end()});
    return true;
  });
}

// ---- Sealing ----

Result<std::vector<Segment>> SparseLayer::sealed_segments() {
  std::vector<Segment> segments = map().segments();
  for (Segment& segment : segments) segment.moffset = place_of(segment.offset);
  return segments;
}

}  // namespace dadi::lsmt
