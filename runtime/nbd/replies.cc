#include "runtime/nbd/replies.h"

#include <algorithm>
#include <array>

#include "libformat/base/bytes.h"
#include "runtime/nbd/errors.h"

namespace dadi::nbd {
namespace {

constexpr std::size_t kMostDescriptors = 2048;  // of one block status

void store_chunk(std::span<std::byte> out, std::uint64_t cookie, std::uint16_t flags, Chunk kind, std::size_t length) {
  store_be(out, 0, kStructuredReplyMagic);
  store_be(out, 4, flags);
  store_be(out, 6, static_cast<std::uint16_t>(kind));
  store_be(out, 8, cookie);
  store_be(out, 16, static_cast<std::uint32_t>(length));
}

std::uint32_t state_of(Extent::Kind kind) {
  switch (kind) {
    case Extent::Kind::kData:
      return 0;
    case Extent::Kind::kZero:
      return kStateZero;
    case Extent::Kind::kHole:
      break;
  }
  return kStateZero | kStateHole;
}

}  // namespace

void store_simple(std::span<std::byte> out, std::uint64_t cookie, Errno number) {
  store_be(out, 0, kSimpleReplyMagic);
  store_be(out, 4, static_cast<std::uint32_t>(number));
  store_be(out, 8, cookie);
}

void store_data_head(std::span<std::byte> out, std::uint64_t cookie, std::uint16_t flags, std::uint64_t offset,
                     std::size_t length) {
  store_chunk(out, cookie, flags, Chunk::kOffsetData, 8 + length);
  store_be(out, kChunkSize, offset);
}

void store_hole(std::span<std::byte> out, std::uint64_t cookie, std::uint16_t flags, std::uint64_t offset,
                std::uint32_t length) {
  store_chunk(out, cookie, flags, Chunk::kOffsetHole, 12);
  store_be(out, kChunkSize, offset);
  store_be(out, kChunkSize + 8, length);
}

void put_none(Output& out, std::uint64_t cookie) {
  std::array<std::byte, kChunkSize> chunk;
  store_chunk(chunk, cookie, kDone, Chunk::kNone, 0);
  out.append(chunk);
}

void put_error(Output& out, std::uint64_t cookie, Errno number) {
  const std::string_view message = message_of(number);
  std::array<std::byte, kChunkSize + 6> chunk;
  store_chunk(chunk, cookie, kDone, Chunk::kError, 6 + message.size());
  store_be(std::span(chunk), kChunkSize, static_cast<std::uint32_t>(number));
  store_be(std::span(chunk), kChunkSize + 4, static_cast<std::uint16_t>(message.size()));
  out.append(chunk);
  out.append(as_bytes(message));
}

Result<void> put_block_status(Output& out, const Request& request, Extents& extents) {
  struct Descriptor {
    std::uint32_t length;
    std::uint32_t state;
  };
  std::vector<Descriptor> found;
  const std::size_t most = (request.flags & kReqOne) != 0 ? 1 : kMostDescriptors;
  const std::uint64_t end = request.offset + request.length;
  for (std::uint64_t at = request.offset; at < end && found.size() < most;) {
    const Sectors sector = whole_sectors(Bytes{at});
    DADI_TRY(const Extent extent, extents.next(sector));
    const std::uint64_t until = std::min(to_bytes(sector + extent.length).value, end);
    found.push_back({static_cast<std::uint32_t>(until - at), state_of(extent.kind)});
    at = until;
  }
  std::vector<std::byte> chunk(kChunkSize + 4 + 8 * found.size());
  store_chunk(chunk, request.cookie, kDone, Chunk::kBlockStatus, chunk.size() - kChunkSize);
  store_be(std::span(chunk), kChunkSize, kAllocationContextId);
  for (std::size_t i = 0; i < found.size(); ++i) {
    store_be(std::span(chunk), kChunkSize + 4 + 8 * i, found[i].length);
    store_be(std::span(chunk), kChunkSize + 8 + 8 * i, found[i].state);
  }
  out.append(chunk);
  return {};
}

std::size_t heads_of(std::size_t pieces) {
  return std::max<std::size_t>(1, pieces) * kHoleChunk;
}

void put_read(Output& out, Job& job, bool structured, bool chunks) {
  const Request& request = job.request;
  std::vector<Output::Part> parts;
  std::size_t room = request.length;  // where the next head goes
  const auto head = [&](std::size_t size) {
    parts.push_back({room, size});
    room += size;
    return job.buffer.bytes().subspan(parts.back().offset, size);
  };
  if (!structured) {
    store_simple(head(kSimpleReplySize), request.cookie, Errno::kNone);
    parts.push_back({0, request.length});
  } else if (!chunks) {
    store_data_head(head(kDataHead), request.cookie, kDone, request.offset, request.length);
    parts.push_back({0, request.length});
  } else {
    for (auto first = job.pieces.begin(); first != job.pieces.end();) {
      auto last = first;  // a run of one kind
      while (std::next(last) != job.pieces.end() && std::next(last)->zero == first->zero) ++last;
      const std::size_t length = last->offset + last->size - first->offset;
      const std::uint64_t offset = request.offset + first->offset;
      const std::uint16_t flags = std::next(last) == job.pieces.end() ? kDone : 0;
      if (first->zero) {
        store_hole(head(kHoleChunk), request.cookie, flags, offset, static_cast<std::uint32_t>(length));
      } else {
        store_data_head(head(kDataHead), request.cookie, flags, offset, length);
        parts.push_back({first->offset, length});
      }
      first = std::next(last);
    }
  }
  out.push(std::move(job.buffer), std::move(parts));
}

}  // namespace dadi::nbd
