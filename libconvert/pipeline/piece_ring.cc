#include "libconvert/pipeline/piece_ring.h"

#include <algorithm>

namespace dadi::pipeline {

// The first piece that somebody is not done with. REQUIRES: mutex_ is held.
std::size_t PieceRing::oldest() const {
  return std::ranges::min_element(readers_, {}, &Reader::done)->done;
}

std::span<std::byte> PieceRing::buffer() {
  std::unique_lock lock(mutex_);
  // Who found it full sleeps until half of it is empty: not once for every piece.
  if (filled_ - oldest() == pieces_.size())
    room_.wait(lock, [&] { return stopped_ || filled_ - oldest() <= pieces_.size() / 2; });
  if (stopped_) return {};
  Piece& piece = pieces_[filled_ % pieces_.size()];
  lock.unlock();
  if (!piece.bytes) piece.bytes = std::make_unique_for_overwrite<std::byte[]>(size_);
  return {piece.bytes.get(), size_};
}

void PieceRing::filled(std::size_t size) {
  {
    const std::lock_guard lock(mutex_);
    pieces_[filled_ % pieces_.size()].size = size;
    ++filled_;
  }
  more_.notify_all();
}

void PieceRing::end(Result<void> result) {
  const std::lock_guard lock(mutex_);
  end_.emplace(std::move(result));
  more_.notify_all();
}

Result<std::span<const std::byte>> PieceRing::next(std::size_t reader) {
  std::unique_lock lock(mutex_);
  Reader& state = readers_[reader];
  if (state.done < state.given) {
    state.done = state.given;
    if (filled_ - oldest() <= pieces_.size() / 2) room_.notify_one();
  }
  more_.wait(lock, [&] { return stopped_ || state.given < filled_ || end_; });
  if (state.given < filled_ && !stopped_) {
    const Piece& piece = pieces_[state.given++ % pieces_.size()];
    return std::span<const std::byte>(piece.bytes.get(), piece.size);
  }
  if (end_ && !*end_) return Error((*end_).error());
  return std::span<const std::byte>();
}

void PieceRing::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  room_.notify_all();
  more_.notify_all();
}

}  // namespace dadi::pipeline
