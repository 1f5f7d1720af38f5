#include "runtime/nbd/transmission.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "libformat/base/bytes.h"
#include "runtime/nbd/byte_reads.h"
#include "runtime/nbd/errors.h"
#include "runtime/nbd/replies.h"

namespace dadi::nbd {
namespace {

constexpr std::size_t kAtOnce = 64 << 10;     // bytes of a read or write that the serving thread does by itself
constexpr std::size_t kPiece = 64 << 10;      // bytes; larger reads are split
constexpr std::size_t kSendFirst = 64 << 10;  // bytes of output that had better be sent before more is made

constexpr unsigned kUndisturbed = 16;  // flushes
constexpr unsigned kUnwatched = 64;    // flushes

bool is_write(Command command) {
  return command == Command::kWrite || command == Command::kWriteZeroes || command == Command::kTrim;
}

bool flushes(const Request& request) {
  return request.command == Command::kFlush || (is_write(request.command) && (request.flags & kFua) != 0);
}

std::string_view name_of(Command command) {
  switch (command) {
    case Command::kRead:
      return "read";
    case Command::kWrite:
      return "write";
    case Command::kFlush:
      return "flush";
    case Command::kTrim:
      return "trim";
    case Command::kCache:
      return "prefetch";
    case Command::kWriteZeroes:
      return "zeroing";
    case Command::kBlockStatus:
      return "block status";
    default:
      return "request";
  }
}

std::vector<Job::Piece> split(std::size_t length) {
  std::vector<Job::Piece> pieces((length + kPiece - 1) / kPiece);
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    pieces[i].offset = i * kPiece;
    pieces[i].size = std::min(kPiece, length - pieces[i].offset);
  }
  return pieces;
}

}  // namespace

Transmission::Transmission(const Agreement& agreement, Surroundings surroundings)
    : served_(*agreement.served),
      sizes_(block_sizes(served_)),
      structured_(agreement.structured),
      allocation_(agreement.allocation),
      around_(std::move(surroundings)),
      extents_(*served_.device, served_.writer != nullptr),
      changes_(std::make_shared<ChangeQueue>(around_.workers)) {}

Transmission::~Transmission() {
  stop_.request_stop();
  around_.mailbox->close();
}

Result<std::size_t> Transmission::consume(std::span<const std::byte> input, Output& out) {
  std::size_t taken = 0;
  full_ = false;
  while (!ending_ && out.pending() < kSendFirst) {
    collect(out);
    const auto rest = input.subspan(taken);
    if (partial()) {
      taken += consume_data(rest, out);
      if (partial()) break;
      continue;
    }
    if (rest.size() >= 4 && load_be<std::uint32_t>(rest, 0) != kRequestMagic)
      return Error::invalid_argument("a request without its magic");
    if (rest.size() < kRequestSize) break;
    const Request request = load_request(rest);
    full_ = !admits(request, out);
    if (full_) break;
    taken += kRequestSize;
    start(request, out);
  }
  return taken;
}

bool Transmission::admits(const Request& request, const Output& out) const {
  const bool has_data = request.command == Command::kRead || request.command == Command::kWrite;
  const std::size_t needs = has_data && request.length <= sizes_.maximum ? request.length : 0;
  const std::size_t used = job_bytes_ + out.held();
  return jobs_ < around_.limits.requests && (used == 0 || used + needs <= around_.limits.memory);
}

std::size_t Transmission::consume_data(std::span<const std::byte> input, Output& out) {
  if (refused_) {
    const std::size_t size = std::min(refused_->left, input.size());
    refused_->left -= size;
    if (refused_->left == 0) {
      const Refused refused = *std::exchange(refused_, std::nullopt);
      reply(refused.request, refused.number, out);
    }
    return size;
  }
  if (!writing_) return 0;
  const auto room = awaited();
  const std::size_t size = std::min(room.size(), input.size());
  std::memcpy(room.data(), input.data(), size);
  received(size);
  return size;
}

std::span<std::byte> Transmission::awaited() {
  if (!writing_) return {};
  return writing_->buffer.bytes().subspan(written_, writing_->request.length - written_);
}

void Transmission::received(std::size_t size) {
  written_ += size;
  if (written_ < writing_->request.length) return;
  change_device(std::exchange(writing_, nullptr));
}

// A lone small write, which goes to memory, is done here: nothing waits behind it.
void Transmission::change_device(std::shared_ptr<Job> job) {
  const bool at_once = jobs_ == 0 && job->request.command == Command::kWrite && job->request.length <= kAtOnce;
  const bool here = at_once && flushes(job->request) && client_waits_for_flushes();
  ++jobs_;
  if (at_once && change(job, around_.workers, here)) return done_here_.push_back(std::move(job));
  flushes_ += flushes(job->request) ? 1 : 0;
  if (!at_once) changes_->add(std::move(job));
}

void Transmission::flush_or_prefetch(std::shared_ptr<Job> job) {
  const bool here = flushes(job->request) && client_waits_for_flushes();
  ++jobs_;
  if (here) {
    flush(*job);
    return done_here_.push_back(std::move(job));
  }
  flushes_ += flushes(job->request) ? 1 : 0;
  submit_other(job, around_.workers);
}

// To wake a worker, and to be woken by it, takes as long as a fast disk takes to flush. A client that asked for nothing
// during so many flushes is spared that; for a while, and then it is looked at again.
bool Transmission::client_waits_for_flushes() {
  if (jobs_ > 0 || undisturbed_ < kUndisturbed) return false;
  if (++undisturbed_ == kUndisturbed + kUnwatched) undisturbed_ = 0;
  return true;
}

void Transmission::collect_flush() {
  if (--flushes_ == 0 && undisturbed_ < kUndisturbed) ++undisturbed_;
}

// What the export does not take, whatever it holds.
Errno Transmission::check(const Request& request) const {
  std::uint16_t allowed = served_.writer ? kFua : 0;
  bool known = true;
  switch (request.command) {
    case Command::kRead:
      if (structured_) allowed |= kDf;
      break;
    case Command::kWriteZeroes:
      allowed |= kNoHole | kFastZero;
      break;
    case Command::kBlockStatus:
      allowed |= kReqOne;
      known = allocation_ && request.length > 0;
      break;
    case Command::kFlush:
      known = served_.writer != nullptr;
      break;
    case Command::kWrite:
    case Command::kTrim:
    case Command::kCache:
      break;
    default:
      known = false;
  }
  if (is_write(request.command) && !served_.writer) return Errno::kPerm;
  if (!known || (request.flags & ~allowed) != 0) return Errno::kInvalid;
  return check_range(request);
}

Errno Transmission::check_range(const Request& request) const {
  if (request.command == Command::kFlush)
    return request.offset == 0 && request.length == 0 ? Errno::kNone : Errno::kInvalid;
  if (request.offset % sizes_.minimum != 0 || request.length % sizes_.minimum != 0) return Errno::kInvalid;
  const std::uint64_t size = to_bytes(served_.device->size()).value;
  if (request.offset > size || request.length > size - request.offset)
    return is_write(request.command) && request.command != Command::kTrim ? Errno::kNoSpace : Errno::kInvalid;
  const bool has_data = request.command == Command::kRead || request.command == Command::kWrite;
  if (has_data && request.length > sizes_.maximum)
    return (request.flags & kDf) != 0 ? Errno::kOverflow : Errno::kInvalid;
  return Errno::kNone;
}

void Transmission::start(const Request& request, Output& out) {
  if (request.command == Command::kDisconnect) {
    ending_ = true;
    return;
  }
  if (flushes_ > 0) undisturbed_ = 0;
  const Errno refused = check(request);
  if (request.command == Command::kWrite && request.length > 0) {
    if (refused == Errno::kNone) return write(request);
    refused_ = Refused{request, refused, request.length};
    return;
  }
  if (refused != Errno::kNone) return reply(request, refused, out);
  switch (request.command) {
    case Command::kRead:
      return read(request, out);
    case Command::kBlockStatus:
      return block_status(request, out);
    case Command::kWriteZeroes:
    case Command::kTrim:
      return change_device(make_job(request));
    default:
      flush_or_prefetch(make_job(request));
  }
}

std::shared_ptr<Job> Transmission::make_job(const Request& request) {
  return std::make_shared<Job>(request, served_, around_.mailbox, stop_.get_token());
}

void Transmission::write(const Request& request) {
  auto job = make_job(request);
  job->buffer = around_.spare.take(request.length);
  if (job->buffer.size() == 0) {
    refused_ = Refused{request, Errno::kNoMemory, request.length};
    return;
  }
  job_bytes_ += request.length;
  writing_ = std::move(job);
  written_ = 0;
}

void Transmission::read(const Request& request, Output& out) {
  const bool small = request.length <= kAtOnce;
  if (small && read_at_once(request, out)) return;
  const auto job = make_job(request);
  job->pieces = split(request.length);
  job->unfinished = job->pieces.size();
  job->buffer = around_.spare.take(request.length + heads_of(job->pieces.size()));
  if (job->buffer.size() == 0) return reply(request, Errno::kNoMemory, out);
  if (!small && chunks(request) && !find_zero_pieces(*job)) return put_read(out, *job, structured_, true);
  ++jobs_;
  job_bytes_ += request.length;
  if (small) {
    submit_waiting_read(job, around_.workers);
  } else {
    help_with_read(job, around_.workers);
    reading_.push_back(job);
  }
}

// Other requests are answered between two pieces. A client that has asked for nothing else is waiting for this read,
// and is sent what there is of it as soon as what was sent before is gone; one that has gains nothing by that.
bool Transmission::work(Output& out) {
  while (!reading_.empty()) {
    const std::shared_ptr<Job> job = reading_.front();
    const bool worked = fill_piece(job, around_.workers);
    if (!worked) reading_.pop_front();
    if (jobs_ == 1 && out.pending() == 0 && chunks(job->request)) put_filled(out, *job);
    if (worked) return true;
  }
  return false;
}

// Whether the read was answered, well or not; if not, memory does not have it.
bool Transmission::read_at_once(const Request& request, Output& out) {
  if (request.length == 0) return reply(request, Errno::kNone, out), true;
  const std::size_t head = structured_ ? kDataHead : kSimpleReplySize;
  const auto room = out.append(head + request.length);
  const auto data = room.subspan(head);
  const ReadContext context{.stop = stop_.get_token(), .memory_only = true};
  auto filled = read_bytes(*served_.device, Bytes{request.offset}, data, context);
  if (!filled) {
    out.take_back(room.size());
    if (filled.error().code() == ErrorCode::kWouldBlock) return false;
    failed(request, std::move(filled.error()), out);
  } else if (!structured_) {
    store_simple(room, request.cookie, Errno::kNone);
  } else if (chunks(request) && all_zero(data)) {
    out.take_back(room.size());
    store_hole(out.append(kHoleChunk), request.cookie, kDone, request.offset, request.length);
  } else {
    store_data_head(room, request.cookie, kDone, request.offset, request.length);
  }
  return true;
}

// Marks the pieces that lie in no data, which need not be read. Returns whether others are left.
bool Transmission::find_zero_pieces(Job& job) {
  std::size_t left = 0;
  for (Job::Piece& piece : job.pieces) {
    const Bytes begin{job.request.offset + piece.offset};
    const Bytes end = begin + Bytes{piece.size};
    piece.zero = true;
    for (Sectors at = whole_sectors(begin); piece.zero && to_bytes(at) < end;) {
      const auto extent = extents_.next(at);
      piece.zero = extent && extent->kind != Extent::Kind::kData;
      if (piece.zero) at += extent->length;
    }
    piece.filled = piece.zero;
    if (!piece.zero) ++left;
  }
  job.unfinished = left;
  return left > 0;
}

void Transmission::block_status(const Request& request, Output& out) {
  if (auto told = put_block_status(out, request, extents_); !told) failed(request, std::move(told.error()), out);
}

// The whole of a reply without content.
void Transmission::reply(const Request& request, Errno number, Output& out) {
  const bool structured =
      structured_ && (request.command == Command::kRead || request.command == Command::kBlockStatus);
  if (!structured) {
    store_simple(out.append(kSimpleReplySize), request.cookie, number);
  } else if (number == Errno::kNone) {
    put_none(out, request.cookie);
  } else {
    put_error(out, request.cookie, number);
  }
}

void Transmission::failed(const Request& request, Error error, Output& out) {
  reply(request, errno_of(error.code()), out);
  if (around_.observer) {
    around_.observer(
        std::move(error).context("{} of {} bytes at {}", name_of(request.command), request.length, request.offset));
  }
}

void Transmission::collect(Output& out) {
  for (const auto& job : std::exchange(done_here_, {})) collect(*job, out);
  if (around_.mailbox->empty()) return;
  for (const auto& job : around_.mailbox->take()) {
    if (flushes(job->request)) collect_flush();
    std::erase(reading_, job);
    collect(*job, out);
  }
}

void Transmission::collect(Job& job, Output& out) {
  const Request& request = job.request;
  --jobs_;
  if (request.command == Command::kRead || request.command == Command::kWrite) job_bytes_ -= request.length;
  if (job.error) {
    if (job.heads > 0) out.push(std::move(job.buffer), {});  // parts of it are on their way
    failed(request, std::move(*job.error), out);
  } else if (request.command == Command::kRead) {
    return put_read(out, job, structured_, chunks(request));
  } else {
    reply(request, Errno::kNone, out);
  }
  around_.spare.give(std::move(job.buffer));
}

}  // namespace dadi::nbd
