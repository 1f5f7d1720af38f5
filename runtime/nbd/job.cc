#include "runtime/nbd/job.h"

#include <algorithm>

#include "libformat/base/bytes.h"
#include "runtime/nbd/byte_reads.h"

namespace dadi::nbd {
namespace {

constexpr std::size_t kMostHelpers = 8;              // threads that share a read
constexpr std::uint64_t kPrefetchPiece = 256 << 10;  // bytes

Result<void> fill(Job& job, Job::Piece& piece, bool memory_only) {
  const auto data = job.buffer.bytes().subspan(piece.offset, piece.size);
  const ReadContext context{.stop = job.stop, .memory_only = memory_only};
  DADI_CHECK(read_bytes(*job.device, Bytes{job.request.offset + piece.offset}, data, context));
  piece.zero = all_zero(data);
  piece.filled.store(true, std::memory_order_release);
  return {};
}

void fill_waiting(const std::shared_ptr<Job>& job, Job::Piece& piece, runtime::WorkerPool& waiting) {
  waiting.submit([job, &piece] {
    if (auto filled = fill(*job, piece, false); !filled) job->fail(std::move(filled.error()));
    Job::finish(job);
  });
}

// Reads what there is to read, and forgets it: the layers' caches keep it.
Result<void> prefetch(const Job& job) {
  const Sectors end = whole_sectors(Bytes{round_up(job.request.offset + job.request.length, kSectorSize)});
  Buffer scratch(kPrefetchPiece);
  if (scratch.size() == 0) return Error::exhausted("out of memory");
  const ReadContext context{.stop = job.stop, .read_class = ReadClass::kPrefetch};
  for (Sectors at = whole_sectors(Bytes{job.request.offset}); at < end;) {
    if (job.stop.stop_requested()) return Error::cancelled("the client is gone");
    DADI_TRY(Extent extent, job.device->next_extent(at));
    extent.length = std::min(extent.length, end - at);
    if (extent.kind == Extent::Kind::kData) {
      extent.length = std::min(extent.length, whole_sectors(Bytes{kPrefetchPiece}));
      DADI_CHECK(job.device->read_at(at, scratch.bytes().first(to_bytes(extent.length).value), context));
    }
    at += extent.length;
  }
  return {};
}

Result<void> change_device(const Job& job) {
  const Sectors at = whole_sectors(Bytes{job.request.offset});
  const Sectors length = whole_sectors(Bytes{job.request.length});
  switch (job.request.command) {
    case Command::kWrite:
      return job.writer->write_at(at, job.buffer.bytes().first(job.request.length));
    case Command::kWriteZeroes:
      // A zeroed segment is no hole, and is as fast as it gets: NO_HOLE and FAST_ZERO ask for nothing more.
      return job.writer->write_zeroes(at, length);
    case Command::kTrim:
      return job.writer->discard(at, length);
    default:
      return {};
  }
}

Result<void> perform(const Job& job) {
  return job.request.command == Command::kCache ? prefetch(job) : job.writer->flush();
}

void end(const std::shared_ptr<Job>& job, Result<void> done) {
  if (!done) job->fail(std::move(done.error()));
  Job::finish(job);
}

}  // namespace

void Job::fail(Error failure) {
  const std::lock_guard lock(mutex);
  if (!error) error = std::move(failure);
}

void Job::finish(const std::shared_ptr<Job>& job) {
  if (--job->unfinished == 0) job->mailbox->leave(job);
}

bool fill_piece(const std::shared_ptr<Job>& job, const Workers& workers) {
  std::size_t index = job->next_piece++;
  while (index < job->pieces.size() && job->pieces[index].zero) index = job->next_piece++;
  if (index >= job->pieces.size()) return false;
  Job::Piece& piece = job->pieces[index];
  auto filled = fill(*job, piece, true);
  if (!filled && filled.error().code() == ErrorCode::kWouldBlock) {
    fill_waiting(job, piece, workers.waiting);
    return true;
  }
  if (!filled) job->fail(std::move(filled.error()));
  Job::finish(job);
  return true;
}

void help_with_read(const std::shared_ptr<Job>& job, const Workers& workers) {
  const std::size_t helpers = std::min<std::size_t>(job->unfinished - 1, kMostHelpers);
  for (std::size_t i = 0; i < helpers; ++i) {
    workers.computing.submit([job, workers] {
      while (fill_piece(job, workers)) continue;
    });
  }
}

void submit_waiting_read(const std::shared_ptr<Job>& job, const Workers& workers) {
  for (Job::Piece& piece : job->pieces) fill_waiting(job, piece, workers.waiting);
}

void submit_other(const std::shared_ptr<Job>& job, const Workers& workers) {
  workers.waiting.submit([job] { end(job, perform(*job)); });
}

void flush(Job& job) {
  if (auto flushed = job.writer->flush(); !flushed) job.fail(std::move(flushed.error()));
}

bool change(const std::shared_ptr<Job>& job, const Workers& workers, bool here) {
  Result<void> done;
  // A client that lost its connection may have asked anew, and gone on since: what it asked for first would come late.
  if (job->stop.stop_requested()) done = Error::cancelled("the client is gone");
  if (done && job->request.length > 0) done = change_device(*job);
  if (!done) job->fail(std::move(done.error()));
  if (job->error || (job->request.flags & kFua) == 0) return true;
  if (here) return flush(*job), true;
  workers.waiting.submit([job] { end(job, job->writer->flush()); });
  return false;
}

}  // namespace dadi::nbd
