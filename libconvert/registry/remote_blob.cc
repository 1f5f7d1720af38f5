#include "libconvert/registry/remote_blob.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>

#include "libconvert/registry/range_headers.h"

namespace dadi::registry {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::milliseconds kLongestPause{3000};
constexpr int kMostRefusals = 3;                 // answers to a range that are none
constexpr std::uint64_t kMostSkipped = 1 << 20;  // bytes of a whole blob, when only a part was asked for
constexpr unsigned kLeastSpeed = 1024;           // bytes a second; a connection that is slower is given up
constexpr std::size_t kMostSaid = 4096;          // of an answer that is no blob

bool is_patience(long status) {
  return status == 408 || status == 429 || status >= 500;
}

// The place of a blob's bytes among those of an answer.
class RangeBody {
 public:
  // `before`: bytes of the whole read that are there already.
  RangeBody(Bytes first, std::span<std::byte> out, Bytes size, std::size_t before, ReadProgress* progress)
      : first_(first.value), out_(out), size_(size.value), before_(before), progress_(progress) {}

  bool take(const HttpHead& head, std::span<const std::byte> bytes) {
    if (!judged_) sound_ = judge(head).has_value();
    if (!sound_) {
      said_.insert(said_.end(), bytes.begin(),
                   bytes.begin() + static_cast<std::ptrdiff_t>(std::min(bytes.size(), kMostSaid - said_.size())));
      return head.status != 200 && head.status != 206 && said_.size() < kMostSaid;
    }
    const std::size_t skipped = std::min<std::uint64_t>(skip_, bytes.size());
    skip_ -= skipped;
    bytes = bytes.subspan(skipped);
    bytes = bytes.first(std::min(bytes.size(), out_.size() - got_));
    std::memcpy(out_.data() + got_, bytes.data(), bytes.size());
    got_ += bytes.size();
    if (progress_ != nullptr) progress_->arrived(before_ + got_);
    // A connection whose answer came to its end by itself is used again; to break off costs it.
    return got_ < out_.size() || head.header("content-length") == std::to_string(out_.size());
  }

  std::size_t got() const { return got_; }
  // That the answer has the range, or what is wrong with it. REQUIRES: its status is 200 or 206.
  Result<void> judge(const HttpHead& head) {
    judged_ = true;
    auto verdict = head.status == 206 ? judge_part(head) : judge_whole(head);
    sound_ = verdict.has_value();
    return verdict;
  }
  const std::vector<std::byte>& said() const { return said_; }

 private:
  Result<void> judge_part(const HttpHead& head) const {
    if (head.status != 206) return Error::unavailable("status {}", head.status);
    const std::string_view text = head.header("content-range");
    const auto range = parse_content_range(text);
    if (!range) return Error::unsupported("a part without a range (\"{}\")", text.substr(0, 100));
    if (range->size && *range->size != size_)
      return Error::corruption("the blob has {} bytes there, not {}", *range->size, size_);
    if (range->first != first_ || range->last != first_ + out_.size() - 1)
      return Error::unsupported("bytes {}-{} were asked for, and {}-{} came", first_, first_ + out_.size() - 1,
                                range->first, range->last);
    return {};
  }
  // A registry without ranges sends the blob from its first byte on: good enough near the start.
  Result<void> judge_whole(const HttpHead& head) {
    if (head.status != 200) return Error::unavailable("status {}", head.status);
    const std::string_view length = head.header("content-length");
    if (!length.empty() && length != std::to_string(size_))
      return Error::corruption("the blob has {} bytes there, not {}", length.substr(0, 20), size_);
    if (first_ > kMostSkipped) return Error::unsupported("all of the blob came for a range of it");
    skip_ = first_;
    return {};
  }

  const std::uint64_t first_;
  const std::span<std::byte> out_;
  const std::uint64_t size_;
  const std::size_t before_;
  ReadProgress* const progress_;
  bool judged_ = false;
  bool sound_ = false;
  std::uint64_t skip_ = 0;
  std::size_t got_ = 0;
  std::vector<std::byte> said_;
};

}  // namespace

RemoteBlob::RemoteBlob(std::shared_ptr<Repository> repository, const Digest& digest, Bytes size)
    : repository_(std::move(repository)), digest_(digest), size_(size), path_(repository_->blob_path(digest)) {}

std::string RemoteBlob::place() const {
  const std::lock_guard lock(mutex_);
  return elsewhere_.empty() ? path_ : elsewhere_;
}

// Unless another thread has found out more meanwhile.
void RemoteBlob::set_place(const std::string& from, std::string to) const {
  const std::lock_guard lock(mutex_);
  if ((elsewhere_.empty() ? path_ : elsewhere_) == from) elsewhere_ = std::move(to);
}

// One read, with all of its tries. One thread.
class RemoteBlob::Read {
 public:
  Read(const RemoteBlob& blob, Bytes offset, std::span<std::byte> out, const ReadContext& context)
      : blob_(blob), offset_(offset), out_(out), context_(context) {
    const auto patience = blob.repository_->access().read_time;
    deadline_ = std::min(context.deadline, Clock::now() + patience);
    stall_ = std::clamp<std::chrono::seconds>(patience / 3, std::chrono::seconds(1), std::chrono::seconds(10));
  }

  Result<void> run() {
    for (;;) {
      const std::size_t before = got_;
      auto result = attempt();
      if (result || result.error().code() != ErrorCode::kUnavailable) return result;
      if (got_ > before) failures_ = 0;
      if (elsewhere_failed_) continue;  // the registry knows better
      DADI_CHECK(pause(std::move(result).error()));
    }
  }

 private:
  // Errors: unavailable if another try makes sense.
  Result<void> attempt() {
    const std::string place = blob_.place();
    const bool elsewhere = place != blob_.path_;
    elsewhere_failed_ = false;
    HttpRequest request{.url = place, .least_speed = kLeastSpeed, .stall = stall_, .stop = context_.stop};
    const std::uint64_t first = offset_.value + got_;
    request.headers.push_back(fmt::format("Range: bytes={}-{}", first, offset_.value + out_.size() - 1));
    request.deadline = deadline_;
    request.new_connection = failures_ > 0;
    RangeBody body({first}, out_.subspan(got_), blob_.size_, got_, context_.progress);
    const auto head = blob_.repository_->exchange(
        request, [&](const HttpHead& answer, std::span<const std::byte> bytes) { return body.take(answer, bytes); });
    got_ += body.got();
    if (got_ == out_.size()) {
      if (head && !elsewhere && head->url != request_url(*head)) blob_.set_place(place, head->url);
      return {};
    }
    auto failure = head ? judge(*head, body) : head.error();
    if (elsewhere && failure.code() != ErrorCode::kCancelled && Clock::now() < deadline_) {
      blob_.set_place(place, "");
      elsewhere_failed_ = true;
      return Error::unavailable("{}", failure.message());
    }
    return failure;
  }

  // What an answer without all of the bytes means.
  Error judge(const HttpHead& head, RangeBody& body) {
    retry_after_ = head.retry_after;
    if (is_patience(head.status)) return Error::unavailable("{}: status {}", blob_.repository_->host(), head.status);
    // Tokens that others use up while this one is on its way.
    if (head.status == 401 && ++refusals_ < kMostRefusals)
      return Error::unavailable("{}: status 401", blob_.repository_->host());
    if (head.status == 416)
      return Error::corruption("{}: the blob ends before byte {}", blob_.repository_->host(), offset_.value + got_);
    if (head.status != 200 && head.status != 206) return blob_.repository_->refused({head, body.said()}, "read a blob");
    auto verdict = body.judge(head);
    if (verdict)
      return Error::unavailable("{}: an answer that ends after {} of {} bytes", blob_.repository_->host(), got_,
                                out_.size());
    Error error = std::move(verdict).error().context("{}", blob_.repository_->host());
    // It may have been one of many hosts, or a proxy on a bad day.
    if (++refusals_ < kMostRefusals) return Error::unavailable("{}", error.message());
    if (error.code() != ErrorCode::kUnsupported) return error;
    return std::move(error).with_hint("this registry cannot be read in parts: pull the image first");
  }

  Result<void> pause(Error why) {
    auto length = std::min(kLongestPause, kFirstPause * (1 << std::min(failures_, 10)));
    if (retry_after_ > 0) length = std::chrono::seconds(retry_after_);
    retry_after_ = 0;
    ++failures_;
    if (Clock::now() + length >= deadline_) return std::move(why).context("given up");
    std::mutex mutex;
    std::unique_lock lock(mutex);
    std::condition_variable_any woken;
    const auto& stop = blob_.repository_->access().stop;
    const std::stop_callback wake(stop, [&] {
      const std::lock_guard guard(mutex);
      woken.notify_all();
    });
    woken.wait_for(lock, context_.stop, length, [&] { return stop.stop_requested(); });
    if (stop.stop_requested() || context_.stop.stop_requested()) return Error::cancelled("stopped");
    return {};
  }

  // The registry's own URL of the blob.
  std::string request_url(const HttpHead& head) const {
    const std::size_t path = head.url.find('/', head.url.find("://") + 3);
    return path != std::string::npos && head.url.substr(path) == blob_.path_ ? head.url : std::string();
  }

  const RemoteBlob& blob_;
  const Bytes offset_;
  const std::span<std::byte> out_;
  const ReadContext& context_;
  Clock::time_point deadline_;
  std::chrono::seconds stall_{};
  std::size_t got_ = 0;  // bytes of `out`, in order
  int failures_ = 0;     // without progress
  int refusals_ = 0;
  long retry_after_ = 0;
  bool elsewhere_failed_ = false;
};

Result<void> RemoteBlob::read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const {
  if (offset > size_ || out.size() > (size_ - offset).value)
    return Error::corruption("{}: {} bytes at offset {} reach past the end, {}", digest_.brief(), out.size(),
                             offset.value, size_.value);
  if (out.empty()) return {};
  if (context.memory_only) return Error::would_block("it is on a registry");
  return Read(*this, offset, out, context).run().context("blob {}", digest_.brief());
}

}  // namespace dadi::registry
