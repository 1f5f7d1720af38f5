#include "runtime/nbd/change_queue.h"

#include <utility>

namespace dadi::nbd {

void ChangeQueue::add(std::shared_ptr<Job> job) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    if (std::exchange(working_, true)) return;
  }
  workers_.waiting.submit([self = shared_from_this()] { self->work(); });
}

void ChangeQueue::work() {
  while (true) {
    std::shared_ptr<Job> job;
    {
      const std::lock_guard lock(mutex_);
      working_ = !jobs_.empty();
      if (!working_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    if (change(job, workers_)) Job::finish(job);
  }
}

}  // namespace dadi::nbd
