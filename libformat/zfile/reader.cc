#include "libformat/zfile/reader.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "libformat/base/crc32c.h"
#include "libformat/base/endian.h"
#include "libformat/zfile/format.h"

namespace dadi::zfile {

namespace {

constexpr std::uint64_t kMaxBlocks = 1000000000;  // the reference's limit
constexpr std::size_t kEntrySize = 4;             // of the jump table
constexpr std::size_t kReadSize = std::size_t{1} << 20;

Result<Record> read_record(const BlobReader& blob, Bytes at, const ReadContext& context) {
  std::array<std::byte, kRecordSize> raw{};
  DADI_CHECK(blob.read_at(at, raw, context));
  return decode_record(raw);
}

// Whether there should be a digest. Garbage above the flags that exist makes the bit mean nothing.
bool claims_digest(const Record& record) {
  return (record.flags & kHasDigest) != 0 && record.flags < 2 * kIndexCompressed;
}

bool same_options(const Record& a, const Record& b) {
  return a.block_size == b.block_size && a.algorithm == b.algorithm && a.verify == b.verify;
}

bool same_index(const Record& a, const Record& b) {
  return a.index_offset == b.index_offset && a.index_size == b.index_size && a.original_size == b.original_size &&
         a.index_crc == b.index_crc;
}

// Old writers left uninitialised memory in high flag bits and in the digest, so a digest counts only where it holds;
// and it must hold at both ends or at none, lest a damaged record pass for an old one.
Result<bool> check_digests(const Record& header, const Record& trailer) {
  if (header.digest_holds && trailer.digest_holds) return true;
  if (header.digest_holds || trailer.digest_holds || claims_digest(header) || claims_digest(trailer))
    return Error::corruption("zfile {}: digest mismatch", header.digest_holds ? "trailer" : "header");
  return false;
}

Result<void> check_fields(const Record& record) {
  if (record.block_size < kMinBlockSize || record.block_size > kMaxBlockSize || !std::has_single_bit(record.block_size))
    return Error::corruption("zfile: block size {}", record.block_size);
  if (record.algorithm != static_cast<std::uint8_t>(Algorithm::kLz4) &&
      record.algorithm != static_cast<std::uint8_t>(Algorithm::kZstd))
    return Error::unsupported("zfile: compression algorithm {}", record.algorithm);
  if (record.uses_dictionary) return Error::unsupported("zfile: a compression dictionary");
  if (record.verify > 1) return Error::corruption("zfile: verify {}", record.verify);
  return {};
}

// That the jump table lies where it must, and counts as many blocks as the size makes.
Result<void> check_layout(const Record& record, Bytes size) {
  const std::uint64_t blocks = divide_up(record.original_size.value, record.block_size);
  if (record.index_size != blocks || blocks > kMaxBlocks)
    return Error::corruption("zfile: {} blocks for {} bytes in blocks of {}", record.index_size,
                             record.original_size.value, record.block_size);
  const std::uint64_t behind = blocks * kEntrySize + kRecordSize;  // bytes from the table on
  if (record.index_offset < Bytes{kRecordSize} || record.index_offset > size ||
      (size - record.index_offset).value != behind)
    return Error::corruption("zfile: a jump table of {} entries at {} does not lead to the trailer of {} bytes", blocks,
                             record.index_offset.value, size.value);
  return {};
}

// What the two records say, checked against each other and the blob's size. The trailer is written in every case, and
// whole; the header repeats it only where a writer went back for it.
Result<Info> check_records(const Record& header, const Record& trailer, Bytes size) {
  constexpr std::uint64_t kKind = kIsHeader | kIsData | kSealed;
  if ((header.flags & kKind) != (kIsHeader | kIsData))
    return Error::corruption("zfile header: flags {:#x}", header.flags);
  if ((trailer.flags & kKind) != (kIsData | kSealed))
    return Error::corruption("zfile trailer: flags {:#x}", trailer.flags);
  DADI_TRY(const bool digests, check_digests(header, trailer));
  const bool authoritative = digests && (header.flags & kHeaderOverwritten) != 0;
  if (digests && ((header.flags | trailer.flags) & kIndexCompressed) != 0)
    return Error::unsupported("zfile: a compressed jump table");
  if (!same_options(header, trailer)) return Error::corruption("zfile: header and trailer differ in options");
  if (authoritative && !same_index(header, trailer))
    return Error::corruption("zfile: header and trailer differ in the jump table's place, or the size");
  DADI_CHECK(check_fields(trailer));
  DADI_CHECK(check_layout(trailer, size));
  return Info{.algorithm = static_cast<Algorithm>(trailer.algorithm),
              .block_size = trailer.block_size,
              .blocks = trailer.index_size,
              .verify = trailer.verify != 0,
              .digests = digests,
              .header_authoritative = authoritative,
              .raw_size = trailer.original_size,
              .stored_size = size};
}

Result<JumpTable> read_table(const BlobReader& blob, const Record& record, const Info& info,
                             const ReadContext& context) {
  const std::size_t checksum = info.verify ? kChecksumSize : 0;
  const std::size_t longest = max_compressed_size(info.algorithm, info.block_size) + checksum;
  JumpTable table{Bytes{kRecordSize}};
  table.reserve(info.blocks);  // no more of them than the blob has room for: see check_layout
  std::uint32_t crc = 0;
  std::vector<std::byte> buffer;
  for (std::uint64_t done = 0; done < info.blocks;) {
    const std::uint64_t count = std::min<std::uint64_t>(info.blocks - done, kReadSize / kEntrySize);
    buffer.resize(count * kEntrySize);
    DADI_CHECK(blob.read_at(record.index_offset + Bytes{done * kEntrySize}, buffer, context));
    crc = crc32c_raw(buffer, crc);
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto length = load_le<std::uint32_t>(buffer, i * kEntrySize);
      if (length <= checksum || length > longest)
        return Error::corruption("zfile jump table: block {}: {} bytes stored, not {} to {}", done + i, length,
                                 checksum + 1, longest);
      table.add(length);
    }
    done += count;
  }
  if (info.digests && crc != record.index_crc)
    return Error::corruption("zfile jump table: checksum {:08x}, but its bytes have {:08x}", record.index_crc, crc);
  if (table.end() != record.index_offset)
    return Error::corruption("zfile jump table: the blocks end at {}, but it begins at {}", table.end().value,
                             record.index_offset.value);
  return table;
}

}  // namespace

Result<bool> is_zfile(const BlobReader& blob, const ReadContext& context) {
  std::array<std::byte, kMagicSize> head{};
  if (blob.size() < Bytes{head.size()}) return false;
  DADI_CHECK(blob.read_at({0}, head, context));
  return has_magic(head);
}

Reader::Reader(SharedBlob blob, const Info& info, JumpTable table)
    : blob_(std::move(blob)), info_(info), table_(std::move(table)) {}

Result<std::shared_ptr<const Reader>> Reader::open(SharedBlob blob, const ReadContext& context) {
  const Bytes size = blob->size();
  if (size < Bytes{2 * kRecordSize}) return Error::corruption("zfile: {} bytes are too few", size.value);
  DADI_TRY(const Record header, read_record(*blob, {0}, context).context("zfile header"));
  DADI_TRY(const Record trailer, read_record(*blob, size - Bytes{kRecordSize}, context).context("zfile trailer"));
  DADI_TRY(Info info, check_records(header, trailer, size));
  DADI_TRY(JumpTable table, read_table(*blob, trailer, info, context));
  info.longest_stored = table.longest();
  return std::shared_ptr<const Reader>(new Reader(std::move(blob), info, std::move(table)));
}

Reader::StoredRange Reader::stored_range(std::uint64_t block) const {
  const Bytes offset = table_.offset(block);
  return {offset, table_.offset(block + 1) - offset};
}

std::size_t Reader::raw_size(std::uint64_t block) const {
  return std::min<std::uint64_t>(info_.block_size, info_.raw_size.value - block * info_.block_size);
}

Result<void> Reader::decode(std::uint64_t block, std::span<const std::byte> stored, std::span<std::byte> out) const {
  return decode_block(info_.algorithm, info_.verify, stored, out).context("zfile block {}", block);
}

// Fills `out`, the bytes from `offset` on, all in blocks [first, last], with one read below.
Result<void> Reader::decode_run(std::uint64_t first, std::uint64_t last, Bytes offset, std::span<std::byte> out,
                                std::vector<std::byte>& stored, const ReadContext& context) const {
  const Bytes start = table_.offset(first);
  stored.resize((table_.offset(last + 1) - start).value);
  DADI_CHECK(blob_->read_at(start, stored, context));
  std::vector<std::byte> partial;  // a block of which only a part is wanted
  for (std::uint64_t block = first; block <= last; ++block) {
    const StoredRange range = stored_range(block);
    const auto source = std::span(stored).subspan((range.offset - start).value, range.size.value);
    const std::size_t skip = (offset - Bytes{block * info_.block_size}).value;
    const std::size_t size = raw_size(block);
    const auto target = out.first(std::min(out.size(), size - skip));
    if (target.size() == size) {
      DADI_CHECK(decode(block, source, target));
    } else {
      partial.resize(size);
      DADI_CHECK(decode(block, source, partial));
      std::memcpy(target.data(), partial.data() + skip, target.size());
    }
    out = out.subspan(target.size());
    offset += Bytes{target.size()};
  }
  return {};
}

Result<void> Reader::read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const {
  if (offset > size() || out.size() > (size() - offset).value)
    return Error::corruption("zfile: {} bytes at offset {} reach past the end, {}", out.size(), offset.value,
                             size().value);
  std::vector<std::byte> stored;
  while (!out.empty()) {
    const std::uint64_t first = offset.value / info_.block_size;
    const std::uint64_t end = (offset.value + out.size() - 1) / info_.block_size + 1;
    std::uint64_t last = first;
    while (last + 1 < end && (table_.offset(last + 2) - table_.offset(first)).value <= kReadSize) ++last;
    const std::uint64_t stop = std::min(size().value, (last + 1) * info_.block_size);
    const auto part = out.first(std::min<std::uint64_t>(out.size(), stop - offset.value));
    auto decoded = decode_run(first, last, offset, part, stored, context);
    if (!decoded && decoded.error().code() == ErrorCode::kCorruption && !context.memory_only) {
      ReadContext again = context;
      again.anew = true;
      decoded = decode_run(first, last, offset, part, stored, again);
    }
    DADI_CHECK(std::move(decoded));
    out = out.subspan(part.size());
    offset += Bytes{part.size()};
  }
  return {};
}

}  // namespace dadi::zfile
