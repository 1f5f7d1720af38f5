#include "libformat/lsmt/layer_reader.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "libformat/blob/memory_blob.h"
#include "libformat/lsmt/discard_log.h"
#include "libformat/lsmt/flush_log.h"
#include "libformat/lsmt/record_log.h"
#include "libformat/lsmt/segment_map.h"

namespace dadi::lsmt {

namespace {

constexpr std::size_t kRecordsAtOnce = 65536;

Result<Header> read_header(const BlobReader& blob, Bytes at, const ReadContext& context) {
  std::array<std::byte, kHeaderSize> raw{};
  DADI_CHECK(blob.read_at(at, raw, context));
  return decode_header(raw);
}

// Reads `count` records from `at` on and calls visit(number, record) -> Result<void> for each.
template <typename Visit>
Result<void> read_records(const BlobReader& blob, Bytes at, std::uint64_t count, const ReadContext& context,
                          Visit visit) {
  std::vector<std::byte> buffer;
  for (std::uint64_t done = 0; done < count;) {
    const std::uint64_t part = std::min<std::uint64_t>(count - done, kRecordsAtOnce);
    buffer.resize(part * kRecordSize);
    DADI_CHECK(blob.read_at(at + Bytes{done * kRecordSize}, buffer, context));
    for (std::uint64_t i = 0; i < part; ++i)
      DADI_CHECK(visit(done + i, decode_record(std::span(buffer).subspan(i * kRecordSize, kRecordSize))));
    done += part;
  }
  return {};
}

// The index of a committed or sealed layer, checked record by record.
struct IndexParser {
  Sectors data_end;     // of the layer's file
  Sectors device_size;  // 0: not known
  std::vector<Segment> segments = {};
  bool padded = false;
  bool references = false;  // some tags are 1, none is more
  bool chained = true;      // each segment's data begins where that of the one before ends

  Result<void> add(const Record& record) {
    if (record.is_padding()) {
      padded = true;
      return {};
    }
    const Segment& segment = record.segment;
    if (segment.length.value == 0) return Error::corruption("length 0");
    if (!segments.empty() && segment.offset < segments.back().end())
      return Error::corruption("begins at sector {}, before the end of the one before, {}", segment.offset.value,
                               segments.back().end().value);
    if (device_size.value > 0 && segment.end() > device_size)
      return Error::corruption("ends at sector {}, beyond the device's {}", segment.end().value, device_size.value);
    chained = chained && (segments.empty() || segments.back().mend() == segment.moffset);
    references = record.tag <= 1 && (references || record.tag == 1);
    // What another file holds may lie anywhere in it.
    if (record.tag != 1) DADI_CHECK(check_place(segment, data_end));
    segments.push_back(segment);
    return {};
  }

  // Tags of merged layers are 1 too, but those are written in device order, one after the other.
  bool is_turbo_oci() const { return references && !padded && !chained; }
};

Error turbo_oci() {
  return Error::unsupported("lsmt: TurboOCI metadata, which refers to data in another file, is not supported");
}

// That header and trailer belong to one layer, and lead to its index.
Result<LayerReader::Kind> check_ends(const Header& header, const Header& trailer) {
  const bool committed = header.flags == kCommittedHeader;
  const bool sparse = header.flags == kSparseHeader;
  if (!committed && !sparse && header.flags != kAppendOnlyHeader)
    return Error::corruption("lsmt header: flags {:#x}", header.flags);
  if (trailer.flags != (sparse ? kSealedSparseTrailer : kCommittedTrailer))
    return Error::corruption("lsmt trailer: flags {:#x}", trailer.flags);
  if (header.index_offset.value != 0 || header.index_size != 0)
    return Error::corruption("lsmt header: index fields are not zero");
  if (header.info != trailer.info)
    return Error::corruption("lsmt: header and trailer differ in size, uuid, parent or user tag");
  return committed ? LayerReader::Kind::kCommitted : LayerReader::Kind::kSealed;
}

Result<void> check_index_place(const Header& header, const Header& trailer, Bytes trailer_at) {
  if (trailer.index_size > kMaxReadRecords)
    return Error::corruption("lsmt trailer: {} index records, more than {}", trailer.index_size, kMaxReadRecords);
  const std::uint64_t size = trailer.index_size * kRecordSize;
  const Bytes at = trailer.index_offset;
  if (at < Bytes{kHeaderSize} || at.value % kSectorSize != 0 || at > trailer_at || size > (trailer_at - at).value)
    return Error::corruption("lsmt trailer: an index of {} records at {}", trailer.index_size, at.value);
  const std::uint64_t between = (trailer_at - at).value;
  if (header.flags == kCommittedHeader) {
    if (between == size && trailer.index_size % kPaddingUnit == 0) return {};
    if (between == size) return turbo_oci();  // nothing is padded there
  } else if (between == round_up(size, kSectorSize)) {
    return {};
  }
  return Error::corruption("lsmt trailer: {} index records at {} do not lead to the trailer at {}", trailer.index_size,
                           at.value, trailer_at.value);
}

// The trailer; or an error that tells an unsealed layer from a damaged one.
Result<Header> read_trailer(const BlobReader& blob, Bytes at, const Header& header, const ReadContext& context) {
  std::array<std::byte, kHeaderSize> raw{};
  DADI_CHECK(blob.read_at(at, raw, context));
  if (!has_magic(raw))
    return Error::corruption("lsmt: no trailer at {}: {}", at.value,
                             header.flags == kCommittedHeader ? "the layer is cut short, or was never finished"
                                                              : "a writable layer that was not sealed");
  return decode_header(raw).context("lsmt trailer");
}

// Adds the file's stretches of data behind the header, as segments.
Result<void> map_data(int fd, Bytes file_size, SegmentMap& map) {
  for (Bytes at{kHeaderSize}; at < file_size;) {
    const off_t data = ::lseek(fd, static_cast<off_t>(at.value), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;
    const off_t hole = data < 0 ? data : ::lseek(fd, data, SEEK_HOLE);
    if (hole < 0) return Error::from_errno(errno, "lsmt: find data in a sparse layer");
    const Sectors begin{static_cast<std::uint64_t>(data) / kSectorSize};
    const Sectors end{static_cast<std::uint64_t>(hole) / kSectorSize};
    if (begin >= end) return Error::corruption("lsmt: data of a sparse layer at {} is not whole sectors", data);
    map.insert({.offset = begin - kDataStart, .length = end - begin, .moffset = begin});
    at = {static_cast<std::uint64_t>(hole)};
  }
  return {};
}

}  // namespace

LayerReader::LayerReader(Kind kind, LayerInfo info, std::vector<Segment> segments, SharedBlob blob)
    : kind_(kind), info_(std::move(info)), segments_(std::move(segments)), blob_(std::move(blob)) {}

Result<LayerReader> LayerReader::open(SharedBlob blob, const ReadContext& context) {
  const Bytes size = blob->size();
  if (size < Bytes{2 * kHeaderSize}) return Error::corruption("lsmt: {} bytes are too few", size.value);
  const Bytes trailer_at = size - Bytes{kHeaderSize};
  DADI_TRY(const Header header, read_header(*blob, {0}, context).context("lsmt header"));
  DADI_TRY(const Header trailer, read_trailer(*blob, trailer_at, header, context));
  DADI_TRY(const Kind kind, check_ends(header, trailer));
  DADI_CHECK(check_index_place(header, trailer, trailer_at));

  IndexParser parser{.data_end = whole_sectors(trailer.index_offset),
                     .device_size = whole_sectors(trailer.info.virtual_size)};
  parser.segments.reserve(trailer.index_size);
  DADI_CHECK(read_records(*blob, trailer.index_offset, trailer.index_size, context,
                          [&](std::uint64_t number, const Record& record) {
                            return parser.add(record).context("lsmt index record {}", number);
                          }));
  if (kind == Kind::kCommitted && parser.is_turbo_oci()) return turbo_oci();
  for (const Segment& segment : parser.segments)
    DADI_CHECK(check_place(segment, parser.data_end).context("lsmt segment at sector {}", segment.offset.value));
  return LayerReader(kind, trailer.info, std::move(parser.segments), std::move(blob));
}

Result<LayerReader> LayerReader::open_append_only(SharedBlob data, SharedBlob index, const SharedBlob& flushes) {
  const ReadContext context;
  DADI_TRY(const Header data_header, read_header(*data, {0}, context).context("lsmt data header"));
  if (data_header.flags != kAppendOnlyHeader)
    return Error::corruption("lsmt data header: flags {:#x}, not those of an append-only layer", data_header.flags);
  DADI_TRY(const Header header, read_header(*index, {0}, context).context("lsmt log header"));
  if (header.flags != kIndexHeader || header.index_offset != Bytes{kHeaderSize})
    return Error::corruption("lsmt log header: flags {:#x}, records at {}", header.flags, header.index_offset.value);

  if (flushes) {
    DADI_TRY(LoggedRound round, read_flush_log(*flushes, data_header.info.uuid));
    if (!round.empty()) {
      DADI_CHECK(check_round(round, *data, *index));
      index = std::make_shared<LaidOverBlob>(std::move(index), round.records_at(), std::move(round.records));
      data = std::make_shared<LaidOverBlob>(std::move(data), to_bytes(round.data_at), std::move(round.data));
    }
  }
  DADI_TRY(const LogContent log, play_log(*index, whole_sectors(data->size()), false));
  return LayerReader(Kind::kAppendOnly, header.info, log.map.segments(), std::move(data));
}

Result<LayerReader> LayerReader::open_sparse(std::shared_ptr<const FileBlob> data, const SharedBlob& discards) {
  DADI_TRY(const Header header, read_header(*data, {0}, {}).context("lsmt header"));
  if (header.flags != kSparseHeader)
    return Error::corruption("lsmt header: flags {:#x}, not those of a sparse layer", header.flags);
  SegmentMap map;
  if (discards) {
    DADI_TRY(const bool ours, is_discard_log(*discards, header.info));
    if (ours) {
      DADI_TRY(LogContent log, play_log(*discards, kNowhere, true));
      map = std::move(log.map);
    }
  }
  DADI_CHECK(map_data(data->fd(), data->size(), map));
  return LayerReader(Kind::kSparse, header.info, map.segments(), std::move(data));
}

LayerReader LayerReader::over(SharedBlob blob) && {
  blob_ = std::move(blob);
  return std::move(*this);
}

Result<void> LayerReader::read_data(Sectors moffset, std::span<std::byte> out, const ReadContext& context) const {
  return blob_->read_at(to_bytes(moffset), out, context);
}

}  // namespace dadi::lsmt
