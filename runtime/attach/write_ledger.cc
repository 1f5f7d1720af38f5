#include "runtime/attach/write_ledger.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <utility>

#include "libformat/base/unique_fd.h"

namespace dadi::attach {

Result<std::shared_ptr<WriteLedger>> WriteLedger::open(const std::filesystem::path& file,
                                                       std::shared_ptr<BlockWriter> writer) {
  const UniqueFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return Error::from_errno(errno, "open " + file.string());
  // Room is taken now: there must be some when a write is to be counted.
  if (const int failed = ::posix_fallocate(fd.get(), 0, sizeof(Counts)); failed != 0)
    return Error::from_errno(failed, "make room for " + file.string());
  void* const counts = ::mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (counts == MAP_FAILED) return Error::from_errno(errno, "map " + file.string());
  return std::shared_ptr<WriteLedger>(new WriteLedger(static_cast<Counts*>(counts), std::move(writer)));
}

WriteLedger::~WriteLedger() {
  ::munmap(counts_, sizeof(Counts));
}

bool WriteLedger::settled() const {
  return std::atomic_ref(counts_->confirmed).load() == std::atomic_ref(counts_->flushed).load();
}

void WriteLedger::settle() {
  std::atomic_ref(counts_->flushed).store(std::atomic_ref(counts_->confirmed).load());
}

// Before the write is confirmed.
Result<void> WriteLedger::count(Result<void> written) {
  if (written) ++std::atomic_ref(counts_->confirmed);
  return written;
}

Result<void> WriteLedger::write_at(Sectors at, std::span<const std::byte> data) {
  return count(writer_->write_at(at, data));
}

Result<void> WriteLedger::write_zeroes(Sectors at, Sectors length) {
  return count(writer_->write_zeroes(at, length));
}

Result<void> WriteLedger::discard(Sectors at, Sectors length) {
  return count(writer_->discard(at, length));
}

Result<void> WriteLedger::flush() {
  const std::uint64_t confirmed = std::atomic_ref(counts_->confirmed).load();
  DADI_CHECK(writer_->flush());
  const std::atomic_ref flushed(counts_->flushed);
  for (std::uint64_t before = flushed; before < confirmed && !flushed.compare_exchange_weak(before, confirmed);) {
  }
  return {};
}

}  // namespace dadi::attach
