#include "runtime/nbd/mailbox.h"

#include <sys/eventfd.h>

#include <cerrno>
#include <cstdint>

namespace dadi::nbd {

Result<std::shared_ptr<Mailbox>> Mailbox::create() {
  UniqueFd event(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!event) return Error::from_errno(errno, "eventfd");
  return std::shared_ptr<Mailbox>(new Mailbox(std::move(event)));
}

void Mailbox::leave(std::shared_ptr<Job> job) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    jobs_.push_back(std::move(job));
    if (full_.exchange(true, std::memory_order_acq_rel)) return;  // whoever came first wakes
  }
  wake();
}

void Mailbox::wake() {
  const std::uint64_t one = 1;
  // It fails only when the counter is full, and then the taker is awake.
  [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof one);
}

void Mailbox::quiet() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(event_.get(), &count, sizeof count);
}

std::vector<std::shared_ptr<Job>> Mailbox::take() {
  const std::lock_guard lock(mutex_);
  full_.store(false, std::memory_order_release);
  return std::exchange(jobs_, {});
}

void Mailbox::close() {
  std::vector<std::shared_ptr<Job>> left;  // let go when the lock is released
  const std::lock_guard lock(mutex_);
  closed_ = true;
  left.swap(jobs_);
}

}  // namespace dadi::nbd
