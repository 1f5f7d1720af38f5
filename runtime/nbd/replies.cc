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

Output::Part take_head(Job& job, std::size_t size) {
  const Output::Part part{job.request.length + job.heads, size};
  job.heads += size;
  return part;
}

// What is filled, and not replied, as chunks: a run of one kind is one. `last`: nothing comes after these.
std::vector<Output::Part> chunks_of(Job& job, bool last) {
  std::vector<Output::Part> parts;
  const auto due = [](const Job::Piece& piece) {
    return !piece.replied && piece.filled.load(std::memory_order_acquire);
  };
  std::span<std::byte> head;
  for (auto first = job.pieces.begin(); first != job.pieces.end();) {
    if (!due(*first)) {
      ++first;
      continue;
    }
    const bool zero = first->zero;
    const std::uint64_t offset = job.request.offset + first->offset;
    Output::Part data{first->offset, 0};
    for (; first != job.pieces.end() && due(*first) && first->zero == zero; ++first) {
      first->replied = true;
      data.size += first->size;
    }
    parts.push_back(take_head(job, zero ? kHoleChunk : kDataHead));
    head = job.buffer.bytes().subspan(parts.back().offset, parts.back().size);
    if (zero) {
      store_hole(head, job.request.cookie, 0, offset, static_cast<std::uint32_t>(data.size));
    } else {
      store_data_head(head, job.request.cookie, 0, offset, data.size);
      parts.push_back(data);
    }
  }
  if (last && !head.empty()) store_be(head, 4, kDone);
  return parts;
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

void put_filled(Output& out, Job& job) {
  if (auto parts = chunks_of(job, false); !parts.empty()) out.push(job.buffer.bytes(), std::move(parts));
}

void put_read(Output& out, Job& job, bool structured, bool chunks) {
  const Request& request = job.request;
  std::vector<Output::Part> parts;
  if (structured && chunks) {
    parts = chunks_of(job, true);
    if (parts.empty()) {
      out.push(std::move(job.buffer), {});
      return put_none(out, request.cookie);
    }
  } else {
    parts = {take_head(job, structured ? kDataHead : kSimpleReplySize), {0, request.length}};
    const auto head = job.buffer.bytes().subspan(parts.front().offset, parts.front().size);
    if (structured) {
      store_data_head(head, request.cookie, kDone, request.offset, request.length);
    } else {
      store_simple(head, request.cookie, Errno::kNone);
    }
  }
  out.push(std::move(job.buffer), std::move(parts));
}

}  // namespace dadi::nbd
