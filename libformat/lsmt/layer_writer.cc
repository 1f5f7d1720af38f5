#include "libformat/lsmt/layer_writer.h"

#include <vector>

namespace dadi::lsmt {

namespace {

constexpr std::size_t kWriteSize = std::size_t{1} << 20;  // of the index at a time

}  // namespace

Result<std::unique_ptr<LayerWriter>> LayerWriter::create(ByteSink& out, const LayerInfo& info) {
  DADI_CHECK(check_info(info));
  DADI_CHECK(out.write(encode_header({.flags = kCommittedHeader, .index_offset = {}, .index_size = 0, .info = info})));
  return std::unique_ptr<LayerWriter>(new LayerWriter(out, info));
}

Result<void> LayerWriter::check_range(Sectors at, Sectors length) const {
  const Sectors limit = info_.virtual_size.value > 0 ? whole_sectors(info_.virtual_size) : kNowhere;
  if (at > limit || length > limit - at)
    return Error::invalid_argument("{} sectors at sector {} reach past the device's end, {}", length.value, at.value,
                                   limit.value);
  return {};
}

Result<void> LayerWriter::write(Sectors at, std::span<const std::byte> data) {
  if (data.size() % kSectorSize != 0) return Error::invalid_argument("a write of {} bytes is not sectors", data.size());
  const Sectors length = whole_sectors(data);
  DADI_CHECK(check_range(at, length));
  DADI_CHECK(out_.write(data));
  map_.insert({.offset = at, .length = length, .moffset = cursor_});
  cursor_ += length;
  return {};
}

Result<void> LayerWriter::write_zeroes(Sectors at, Sectors length) {
  DADI_CHECK(check_range(at, length));
  map_.insert({.offset = at, .length = length, .moffset = {}, .zeroed = true});
  return {};
}

Result<void> LayerWriter::discard(Sectors at, Sectors length) {
  DADI_CHECK(check_range(at, length));
  map_.erase(at, length);
  return {};
}

// Returns the number of records written, padding included.
Result<std::uint64_t> LayerWriter::write_index() {
  const std::uint64_t total = round_up(map_.size(), kPaddingUnit);
  std::vector<std::byte> buffer;
  Result<void> written;
  const auto append = [&](auto encode) {
    buffer.resize(buffer.size() + kRecordSize);
    encode(std::span(buffer).last(kRecordSize));
    if (buffer.size() < kWriteSize || !written) return;
    written = out_.write(buffer);
    buffer.clear();
  };
  map_.for_each(
      [&](const Segment& segment) { append([&](std::span<std::byte> raw) { encode_record(segment, raw); }); });
  for (std::uint64_t i = map_.size(); i < total; ++i) append(encode_padding);
  DADI_CHECK(std::move(written));
  DADI_CHECK(out_.write(buffer));
  return total;
}

Result<LayerWriter::Summary> LayerWriter::finish() {
  if (map_.size() > kMaxRecords)
    return Error::exhausted("the layer takes {} index records, but {} are possible", map_.size(), kMaxRecords);
  const Bytes index_offset = to_bytes(cursor_);
  DADI_TRY(const std::uint64_t total, write_index());
  DADI_CHECK(out_.write(
      encode_header({.flags = kCommittedTrailer, .index_offset = index_offset, .index_size = total, .info = info_})));
  const Bytes data = to_bytes(cursor_ - kDataStart);
  return Summary{.size = index_offset + Bytes{total * kRecordSize + kHeaderSize},
                 .records = map_.size(),
                 .zeroed_records = map_.zeroed_size(),
                 .data = data,
                 .unreferenced = data - to_bytes(map_.data())};
}

}  // namespace dadi::lsmt
