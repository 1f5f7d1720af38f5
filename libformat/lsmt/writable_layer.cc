#include "libformat/lsmt/writable_layer.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "libformat/lsmt/append_layer.h"
#include "libformat/lsmt/sparse_layer.h"

namespace dadi::lsmt {

// Some pieces of the device in a row, and since when they are so.
struct WritableLayer::Look {
  struct Piece {
    Extent::Kind kind;  // kHole: not of this layer
    Sectors length;
    Sectors moffset;
  };
  std::array<Piece, 32> pieces;
  std::size_t count = 0;
  std::uint64_t punches = 0;

  bool add(Piece piece) {
    pieces[count++] = piece;
    return count < pieces.size();
  }
};

WritableLayer::WritableLayer(WritableForm form, Parts parts, SegmentMap map)
    : form_(form),
      folder_(std::move(parts.folder)),
      lower_(std::move(parts.lower)),
      data_(std::move(parts.data)),
      info_(std::move(parts.info)),
      size_(info_.virtual_size.value > 0 ? whole_sectors(info_.virtual_size) : lower_->size()),
      options_(parts.options),
      notes_(std::move(parts.notes)),
      map_(std::move(map)) {}

Result<std::unique_ptr<WritableLayer>> WritableLayer::create(std::shared_ptr<WritableFolder> folder, WritableForm form,
                                                             LayerInfo info, std::shared_ptr<const BlockReader> lower,
                                                             const WritableOptions& options) {
  if (info.virtual_size.value == 0) info.virtual_size = to_bytes(lower->size());
  DADI_CHECK(check_info(info));
  DADI_CHECK(folder->remove(kFlushesName));
  if (form == WritableForm::kAppendOnly)
    DADI_CHECK(AppendLayer::make_files(*folder, info));
  else
    DADI_CHECK(SparseLayer::make_files(*folder, info));
  return open(std::move(folder), std::move(lower), options);
}

Result<std::unique_ptr<WritableLayer>> WritableLayer::open(std::shared_ptr<WritableFolder> folder,
                                                           std::shared_ptr<const BlockReader> lower,
                                                           const WritableOptions& options) {
  DADI_TRY(auto data, folder->open(kDataName));
  DADI_TRY(const auto raw, read_range(*data, {0}, {kHeaderSize}).context("lsmt data header"));
  DADI_TRY(Header header, decode_header(raw).context("lsmt data header"));
  Parts parts{.folder = std::move(folder),
              .lower = std::move(lower),
              .data = std::move(data),
              .info = std::move(header.info),
              .options = options,
              .notes = {}};
  if (header.flags == kAppendOnlyHeader) return AppendLayer::open(std::move(parts));
  if (header.flags == kSparseHeader) return SparseLayer::open(std::move(parts));
  return Error::corruption("lsmt data header: flags {:#x}, not those of a writable layer", header.flags);
}

// ---- Reading ----

Result<void> WritableLayer::check(Sectors at, Sectors length) const {
  if (at > size_ || length > size_ - at)
    return Error::io("{} sectors at sector {} reach past the device's end, {}", length.value, at.value, size_.value);
  return {};
}

WritableLayer::Look WritableLayer::look_up(Sectors at, Sectors end) const {
  Look look;
  const std::lock_guard lock(lookups_);
  look.punches = punches_;
  bool room = true;
  map_.for_each_in(at, end, [&](const Segment& segment) {
    if (segment.offset > at) room = look.add({Extent::Kind::kHole, segment.offset - at, {}});
    if (room)
      room = look.add({segment.zeroed ? Extent::Kind::kZero : Extent::Kind::kData, segment.length, segment.moffset});
    at = segment.end();
    return room;
  });
  if (room && at < end) look.add({Extent::Kind::kHole, end - at, {}});
  return look;
}

// The device below may be smaller than this one.
Result<void> WritableLayer::read_below(Sectors at, std::span<std::byte> out, const ReadContext& context) const {
  const Sectors there = at < lower_->size() ? std::min(whole_sectors(out), lower_->size() - at) : Sectors{};
  const auto below = out.first(to_bytes(there).value);
  std::ranges::fill(out.subspan(below.size()), std::byte{0});
  return below.empty() ? Result<void>() : lower_->read_at(at, below, context);
}

Result<void> WritableLayer::read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const {
  if (out.size() % kSectorSize != 0) return Error::invalid_argument("a read of {} bytes is not sectors", out.size());
  DADI_CHECK(check(at, whole_sectors(out)));
  while (!out.empty()) {
    const Look look = look_up(at, at + whole_sectors(out));
    Sectors here = at;
    auto rest = out;
    for (const Look::Piece& piece : std::span(look.pieces).first(look.count)) {
      const auto target = rest.first(to_bytes(piece.length).value);
      if (piece.kind == Extent::Kind::kZero)
        std::memset(target.data(), 0, target.size());
      else if (piece.kind == Extent::Kind::kHole)
        DADI_CHECK(read_below(here, target, context));
      else
        DADI_CHECK(data_->read_at(to_bytes(piece.moffset), target, context).context("writable layer"));
      rest = rest.subspan(target.size());
      here += piece.length;
    }
    // A punch that began in between may have hit what was overwritten after it was looked up.
    if (punched_before_.load(std::memory_order_acquire) != look.punches) continue;
    at = here;
    out = rest;
  }
  return {};
}

Result<Extent> WritableLayer::next_extent(Sectors at) const {
  DADI_CHECK(check(at, {1}));
  Extent extent{.kind = Extent::Kind::kHole, .length = {}};
  for (Sectors here = at; here < size_;) {
    const Look look = look_up(here, size_);
    for (const Look::Piece& piece : std::span(look.pieces).first(look.count)) {
      for (const Sectors end = here + piece.length; here < end;) {
        Extent part{piece.kind, end - here};
        if (piece.kind == Extent::Kind::kHole && here < lower_->size()) {
          DADI_TRY(part, lower_->next_extent(here));
          part.length = std::min(part.length, end - here);
        }
        if (extent.length.value > 0 && part.kind != extent.kind) return extent;
        extent = {part.kind, extent.length + part.length};
        here += part.length;
      }
    }
  }
  return extent;
}

// ---- Writing ----

Result<void> WritableLayer::usable() const {
  if (sealed_) return Error::denied("the writable layer is sealed");
  if (broken_) return *broken_;
  return {};
}

Error WritableLayer::broken(Error error) {
  const std::lock_guard lock(writes_);
  if (!broken_) broken_ = Error(error).context("the writable layer takes no more writes");
  return error;
}

void WritableLayer::announce_punch() {
  const std::lock_guard lock(lookups_);
  punched_before_.store(++punches_, std::memory_order_release);
}

// Without data: zeros.
Result<void> WritableLayer::change_once(Sectors at, Sectors length, std::span<const std::byte> data) {
  const std::lock_guard lock(writes_);
  DADI_CHECK(usable());
  Segment segment{.offset = at, .length = length, .moffset = {}, .zeroed = true};
  if (data.empty()) {
    DADI_CHECK(put_zeroes(at, length));
  } else {
    DADI_TRY(segment, put(at, data));
  }
  {
    const std::lock_guard lookups(lookups_);
    map_.insert(segment);
  }
  written_.fetch_add(1, std::memory_order_release);
  return {};
}

Result<void> WritableLayer::change(Sectors at, Sectors length, std::span<const std::byte> data) {
  DADI_CHECK(check(at, length));
  if (length.value == 0) return {};
  auto changed = change_once(at, length, data);
  if (!changed && changed.error().code() == ErrorCode::kExhausted) {
    // Garbage that is not given back yet may be all that is in the way.
    const std::lock_guard lock(flushes_);
    DADI_TRY(durable_, make_durable(true));
    changed = change_once(at, length, data);
  }
  DADI_CHECK(std::move(changed).context("writable layer"));
  return overdue_.load(std::memory_order_relaxed) ? flush() : Result<void>();
}

Result<void> WritableLayer::write_at(Sectors at, std::span<const std::byte> data) {
  if (data.size() % kSectorSize != 0) return Error::invalid_argument("a write of {} bytes is not sectors", data.size());
  return change(at, whole_sectors(data), data);
}

Result<void> WritableLayer::write_zeroes(Sectors at, Sectors length) {
  return change(at, length, {});
}

Result<void> WritableLayer::flush() {
  const std::uint64_t wanted = written();
  const std::lock_guard lock(flushes_);
  if (durable_ >= wanted) {  // another's flush, which began later, has done it
    const std::lock_guard writes(writes_);
    return broken_ ? Result<void>(*broken_) : Result<void>();
  }
  auto durable = make_durable(false);
  if (!durable) return std::move(durable.error()).context("writable layer");
  durable_ = *durable;
  return {};
}

// ---- Sealing ----

// REQUIRES: everything is durable, and writes_ is held.
Result<void> WritableLayer::write_seal() {
  DADI_TRY(const std::vector<Segment> segments, sealed_segments());
  if (segments.size() > kMaxReadRecords)
    return Error::exhausted("the layer takes {} index records, but {} are possible", segments.size(), kMaxReadRecords);
  std::vector<std::byte> index(round_up(segments.size() * kRecordSize, kSectorSize));
  for (std::size_t i = 0; i < segments.size(); ++i)
    encode_record(segments[i], std::span(index).subspan(i * kRecordSize, kRecordSize));
  const Bytes at{round_up(data_->size().value, kSectorSize)};
  DADI_CHECK(data_->write_at(at, index));
  DADI_CHECK(data_->sync());
  // The trailer is what makes it a sealed layer, so it comes when all else is there.
  DADI_CHECK(
      data_->write_at(at + Bytes{index.size()},
                      encode_header({.flags = form_ == WritableForm::kSparse ? kSealedSparseTrailer : kCommittedTrailer,
                                     .index_offset = at,
                                     .index_size = segments.size(),
                                     .info = info_})));
  return data_->sync();
}

Result<void> WritableLayer::seal() {
  const std::lock_guard flushes(flushes_);
  while (true) {
    DADI_TRY(durable_, make_durable(false));
    const std::lock_guard lock(writes_);
    DADI_CHECK(usable());
    if (durable_ != written()) continue;  // somebody wrote meanwhile
    auto written = write_seal();
    if (!written) {
      // What is there of index and trailer is in the way of data.
      broken_ = Error(written.error()).context("the writable layer could not be sealed");
      return std::move(*broken_);
    }
    sealed_ = true;
    return {};
  }
}

SectorSet WritableLayer::own_sectors() const {
  const std::lock_guard lock(writes_);
  SectorSet own;
  map_.for_each([&](const Segment& segment) {
    if (segment.offset < size_) own.insert({segment.offset, std::min(segment.end(), size_)});
  });
  return own;
}

WritableLayer::Usage WritableLayer::usage() const {
  const std::lock_guard lock(writes_);
  return {.data = to_bytes(map_.data()), .garbage = garbage(), .segments = map_.size()};
}

}  // namespace dadi::lsmt
