#include "libfs/archive_input.h"

#include <algorithm>
#include <cassert>

namespace dadi::fs {

namespace {
// Whatever the source gives at once, libarchive gets at most this much before it must ask again: so that whoever counts
// what was remembered can stop it.
constexpr std::size_t kLargestPiece = std::size_t{256} << 10;
}  // namespace

// The last piece is about to go: what is to be remembered of it moves into memory of ours.
void ArchiveInput::retire_piece() {
  if (remembering_) {
    const auto keep = piece_.subspan((std::max(mark_, piece_start()) - piece_start()).value);
    kept_.insert(kept_.end(), keep.begin(), keep.end());
  } else {
    kept_.clear();
  }
  piece_ = {};
}

Result<bool> ArchiveInput::at_end() {
  if (rest_.empty() && !source_ended_) {
    retire_piece();
    DADI_TRY(rest_, source_->next());
    source_ended_ = rest_.empty();
  }
  return rest_.empty();
}

Result<std::span<const std::byte>> ArchiveInput::next_piece() {
  DADI_TRY(const bool ended, at_end());
  if (ended) return std::span<const std::byte>();
  retire_piece();
  piece_ = rest_.first(std::min(rest_.size(), kLargestPiece));
  rest_ = rest_.subspan(piece_.size());
  delivered_ += Bytes{piece_.size()};
  return piece_;
}

void ArchiveInput::mark(Bytes position) {
  if (position >= piece_start()) {
    kept_.clear();
  } else {
    assert(position >= mark_ && (piece_start() - mark_).value == kept_.size());
    kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>((position - mark_).value));
  }
  mark_ = position;
  remembering_ = true;
}

std::span<const std::byte> ArchiveInput::since_mark(Bytes end) {
  const std::size_t size = (end - mark_).value;
  if (kept_.empty()) return piece_.subspan((mark_ - piece_start()).value, size);
  joined_ = kept_;
  joined_.insert(joined_.end(), piece_.begin(), piece_.end());
  return std::span<const std::byte>(joined_).first(size);
}

}  // namespace dadi::fs
