#include "libconvert/pipeline/read_ahead.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace dadi::pipeline {

namespace {

constexpr std::size_t kMostWaiting = std::size_t{4} << 20;
constexpr std::size_t kPiece = std::size_t{1} << 20;  // small pieces are gathered up to this

class ReadAhead final : public ByteSource {
 public:
  explicit ReadAhead(std::unique_ptr<ByteSource> source)
      : source_(std::move(source)), thread_([this](const std::stop_token& stop) { run(stop); }) {}

  ~ReadAhead() override {
    thread_.request_stop();
    changed_.notify_all();
  }

  Result<std::span<const std::byte>> next() override {
    std::unique_lock lock(mutex_);
    if (!current_.empty()) spare_.push_back(std::move(current_));
    current_.clear();
    changed_.wait(lock, [&] { return !pieces_.empty() || end_; });
    if (pieces_.empty()) {
      if (!*end_) return Error((*end_).error());
      return std::span<const std::byte>();
    }
    current_ = std::move(pieces_.front());
    pieces_.pop_front();
    waiting_ -= current_.size();
    changed_.notify_all();
    return std::span<const std::byte>(current_);
  }

 private:
  void run(const std::stop_token& stop) {
    Result<void> result = pump(stop);
    const std::lock_guard lock(mutex_);
    end_.emplace(std::move(result));
    changed_.notify_all();
  }

  Result<void> pump(const std::stop_token& stop) {
    std::vector<std::byte> piece;
    while (!stop.stop_requested()) {
      DADI_TRY(const auto bytes, source_->next());
      piece.insert(piece.end(), bytes.begin(), bytes.end());
      if (piece.size() < kPiece && !bytes.empty()) continue;
      if (!piece.empty()) piece = hand_over(std::move(piece), stop);
      if (bytes.empty()) break;
    }
    return {};
  }

  // Queues a piece once there is room; returns an empty buffer to fill next.
  std::vector<std::byte> hand_over(std::vector<std::byte> piece, const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return waiting_ < kMostWaiting || stop.stop_requested(); });
    waiting_ += piece.size();
    pieces_.push_back(std::move(piece));
    changed_.notify_all();
    std::vector<std::byte> fresh;
    if (!spare_.empty()) {
      fresh = std::move(spare_.back());
      spare_.pop_back();
      fresh.clear();
    }
    return fresh;
  }

  std::unique_ptr<ByteSource> source_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::vector<std::byte>> pieces_;
  std::vector<std::vector<std::byte>> spare_;
  std::size_t waiting_ = 0;
  std::optional<Result<void>> end_;
  std::vector<std::byte> current_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace

std::unique_ptr<ByteSource> read_ahead(std::unique_ptr<ByteSource> source) {
  return std::make_unique<ReadAhead>(std::move(source));
}

}  // namespace dadi::pipeline
