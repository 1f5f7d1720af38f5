#include "runtime/device/opening_blob.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <optional>
#include <vector>

#include "runtime/device/read_limits.h"

namespace dadi::runtime {

namespace {

constexpr Bytes kHead{16U << 10};
constexpr Bytes kLeastTail{16U << 10};
// A jump table of lz4 in blocks of 4 KiB, where blocks shrink to a third: of most images it is half of that.
constexpr std::uint64_t kTailShare = 320;
constexpr Bytes kMostGrown{64U << 20};  // what is further away from an end than this is no part of it

}  // namespace

// Bytes at one end, on their way or there.
struct OpeningBlob::End {
  Bytes offset{};
  std::mutex mutex;
  std::condition_variable_any changed;
  std::optional<Result<void>> result;  // guarded by the mutex; none: on its way
  std::vector<std::byte> data;  // the fetching thread's until there is a result; then guarded by the blob's mutex

  bool holds(Bytes at, std::size_t size) const { return at >= offset && (at - offset).value + size <= data.size(); }
  Bytes end() const { return offset + Bytes{data.size()}; }

  Result<void> wait(const ReadContext& context) {
    std::unique_lock lock(mutex);
    const auto done = [this] { return result.has_value(); };
    const bool ended = context.deadline == std::chrono::steady_clock::time_point::max()
                           ? changed.wait(lock, context.stop, done)
                           : changed.wait_until(lock, context.stop, context.deadline, done);
    if (ended) return *result;
    DADI_CHECK(still_wanted(context));
    return Error::unavailable("no answer within the time allowed");
  }
};

Bytes OpeningBlob::head_size(Bytes blob) {
  return std::min(blob, kHead);
}

Bytes OpeningBlob::tail_size(Bytes blob) {
  return std::min(blob, kLeastTail + Bytes{blob.value / kTailShare});
}

std::shared_ptr<const OpeningBlob> OpeningBlob::start(SharedBlob blob, WorkerPool& pool, const ReadContext& context) {
  return std::shared_ptr<const OpeningBlob>(new OpeningBlob(std::move(blob), pool, context));
}

OpeningBlob::OpeningBlob(SharedBlob blob, WorkerPool& pool, const ReadContext& context)
    : blob_(std::move(blob)), pool_(pool), forward_(context.stop, [this] { stop_.request_stop(); }) {
  fetch_ends(/*anew=*/false);
}

OpeningBlob::~OpeningBlob() {
  stop_.request_stop();
}

void OpeningBlob::finish() const {
  stop_.request_stop();
  const std::lock_guard lock(mutex_);
  finished_ = true;
  head_.reset();
  tail_.reset();
}

// Ends that meet are one.
void OpeningBlob::fetch_ends(bool anew) const {
  const Bytes size = blob_->size();
  const Bytes head = head_size(size);
  const Bytes tail = tail_size(size);
  anew_ = anew;
  if (head + tail >= size) {
    head_ = tail_ = fetch({}, size, anew);
  } else {
    head_ = fetch({}, head, anew);
    tail_ = fetch(size - tail, tail, anew);
  }
}

std::shared_ptr<OpeningBlob::End> OpeningBlob::fetch(Bytes offset, Bytes size, bool anew) const {
  auto end = std::make_shared<End>();
  end->offset = offset;
  end->data.resize(size.value);
  ReadContext context;
  context.stop = stop_.get_token();
  context.exact = true;
  context.anew = anew;
  pool_.submit([end, blob = blob_, context] {
    auto result = blob->read_at(end->offset, end->data, context);
    const std::lock_guard lock(end->mutex);
    end->result = std::move(result);
    end->changed.notify_all();
  });
  return end;
}

Result<void> OpeningBlob::read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const {
  if (finished_ || context.memory_only || offset > size() || out.size() > (size() - offset).value)
    return blob_->read_at(offset, out, context);
  const std::lock_guard lock(mutex_);
  if (head_ == nullptr) return blob_->read_at(offset, out, context);
  if (context.anew && !anew_) fetch_ends(/*anew=*/true);
  const Bytes end = offset + Bytes{out.size()};
  if (!head_->holds(offset, out.size()) && !tail_->holds(offset, out.size())) {
    if (offset <= head_->end() && end <= Bytes{4 * head_->data.size()}) {
      DADI_CHECK(grow_head(end, context));
    } else if (size() - offset <= kMostGrown) {
      DADI_CHECK(grow_tail(offset, context));
    } else {
      return blob_->read_at(offset, out, context);
    }
  }
  End& from = head_->holds(offset, out.size()) ? *head_ : *tail_;
  DADI_CHECK(from.wait(context));
  std::memcpy(out.data(), from.data.data() + (offset - from.offset).value, out.size());
  return {};
}

// REQUIRES, of both: mutex_ is held. What is there stays.
Result<void> OpeningBlob::grow_head(Bytes end, const ReadContext& context) const {
  DADI_CHECK(head_->wait(context));
  const Bytes start = head_->end();
  const Bytes stop = std::min(size(), std::max(end, Bytes{2 * start.value}));
  ReadContext exact = context;
  exact.exact = true;
  DADI_TRY(const auto more, read_range(*blob_, start, stop - start, exact));
  head_->data.insert(head_->data.end(), more.begin(), more.end());
  return {};
}

Result<void> OpeningBlob::grow_tail(Bytes start, const ReadContext& context) const {
  DADI_CHECK(tail_->wait(context));
  const Bytes doubled{size().value - std::min(size().value, 2 * tail_->data.size())};
  start = std::min(start, doubled);
  ReadContext exact = context;
  exact.exact = true;
  DADI_TRY(auto more, read_range(*blob_, start, tail_->offset - start, exact));
  more.insert(more.end(), tail_->data.begin(), tail_->data.end());
  tail_->data = std::move(more);
  tail_->offset = start;
  return {};
}

}  // namespace dadi::runtime
