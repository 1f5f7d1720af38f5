#include "libconvert/pipeline/entries_ahead.h"

#include <utility>

#include "libfs/archive_text.h"

namespace dadi::pipeline {

namespace {

constexpr Bytes kSmall{std::uint64_t{16} << 10};            // a file up to this is copied
constexpr std::size_t kRow = 64;                            // small entries, before a thread is worth its waking up
constexpr std::size_t kBatches = 3;                         // being filled, waiting, being planned
constexpr std::size_t kMostItems = 512;                     // of a batch
constexpr std::size_t kMostBytes = std::size_t{256} << 10;  // of a batch: content, names and attributes

bool is_small(const fs::ArchiveEntry& entry) {
  return entry.hardlink || entry.attributes.type != fs::FileType::kRegular || entry.size <= kSmall;
}

// What an entry's strings take: an archive may have megabytes of them in each.
std::size_t bytes_of(const fs::ArchiveEntry& entry) {
  std::size_t bytes = entry.path.size() + entry.symlink.size() + (entry.hardlink ? entry.hardlink->size() : 0);
  for (const auto& [name, value] : entry.attributes.xattrs) bytes += name.size() + value.size();
  return bytes;
}

}  // namespace

EntriesAhead::~EntriesAhead() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

// ---- The caller ----------------------------------------------------------------------------------------------------

Result<fs::ArchiveEntry*> EntriesAhead::next_entry() {
  if (!ahead_ && in_a_row_ >= kRow) start();
  if (!ahead_) {
    auto entry = archive_.next_entry();
    in_a_row_ = entry && *entry && is_small(**entry) ? in_a_row_ + 1 : 0;
    return entry;
  }
  while (batch_ == nullptr || (next_item_ == batch_->used && batch_->after == Batch::After::kBatch)) take_next_batch();
  if (next_item_ == batch_->used) {
    piece_ = end_of_pieces_ = 0;
    if (batch_->error) return *batch_->error;
    return nullptr;
  }
  Item& item = batch_->items[next_item_++];
  piece_ = item.first_piece;
  end_of_pieces_ = item.end_of_pieces;
  if (next_item_ == batch_->used && batch_->after == Batch::After::kContent) ahead_ = false;
  return &item.entry;
}

Result<std::optional<fs::ArchiveData>> EntriesAhead::next_data() {
  if (!ahead_) return archive_.next_data();
  if (batch_ == nullptr) return std::nullopt;
  if (piece_ < end_of_pieces_) {
    const Piece& piece = batch_->pieces[piece_++];
    return fs::ArchiveData{piece.offset, std::span(batch_->content).subspan(piece.begin, piece.size)};
  }
  if (batch_->content_error && next_item_ == batch_->used) {
    batch_->error = batch_->content_error;  // the first that was told stays
    return *batch_->error;
  }
  return std::nullopt;
}

void EntriesAhead::start() {
  ahead_ = true;
  in_a_row_ = 0;
  const std::lock_guard lock(mutex_);
  reading_ = true;
  if (batch_ != nullptr) free_.push_back(std::exchange(batch_, nullptr));
  if (!thread_.joinable()) {
    for (std::size_t i = 0; i < kBatches; ++i) free_.push_back(batches_.emplace_back(std::make_unique<Batch>()).get());
    thread_ = std::jthread([this] { read(); });
  }
  changed_.notify_one();
}

void EntriesAhead::take_next_batch() {
  Lock lock(mutex_);
  if (batch_ != nullptr) {
    free_.push_back(batch_);
    lock.unlock();
    changed_.notify_one();
    lock.lock();
  }
  changed_.wait(lock, [&] { return !ready_.empty(); });
  batch_ = ready_.front();
  ready_.pop_front();
  next_item_ = 0;
}

// ---- The thread ----------------------------------------------------------------------------------------------------

void EntriesAhead::read() {
  Lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return stopped_ || (reading_ && !free_.empty()); });
    if (stopped_) return;
    Batch& batch = *free_.front();
    free_.pop_front();
    lock.unlock();
    fill(batch);
    lock.lock();
    reading_ = batch.after == Batch::After::kBatch;
    ready_.push_back(&batch);
    lock.unlock();
    changed_.notify_one();
    lock.lock();
  }
}

void EntriesAhead::fill(Batch& batch) {
  for (Item& item : batch.items) item.entry.attributes.xattrs.clear();  // megabytes, maybe; a path's memory is kept
  batch.used = 0;
  batch.pieces.clear();
  batch.content.clear();
  batch.after = Batch::After::kBatch;
  std::size_t strings = 0;
  while (batch.used < kMostItems && batch.content.size() + strings < kMostBytes) {
    auto entry = archive_.next_entry();
    if (!entry || !*entry) {
      batch.after = entry ? Batch::After::kEnd : Batch::After::kError;
      if (!entry) batch.error = std::move(entry).error();
      return;
    }
    const bool small = is_small(**entry);
    strings += bytes_of(**entry);
    if (batch.used == batch.items.size()) batch.items.emplace_back();
    Item& item = batch.items[batch.used++];
    std::swap(item.entry, **entry);
    item.first_piece = item.end_of_pieces = batch.pieces.size();
    if (!small) {
      batch.after = Batch::After::kContent;
      return;
    }
    auto copied = copy_content(batch);
    item.end_of_pieces = batch.pieces.size();
    if (copied) continue;
    batch.after = Batch::After::kError;
    batch.content_error = copied.error();
    batch.error = std::move(copied).error().context("entry {}", fs::in_quotes(item.entry.path));
    return;
  }
}

Result<void> EntriesAhead::copy_content(Batch& batch) {
  while (true) {
    DADI_TRY(const auto data, archive_.next_data());
    if (!data) return {};
    batch.pieces.push_back({data->offset, batch.content.size(), data->bytes.size()});
    batch.content.insert(batch.content.end(), data->bytes.begin(), data->bytes.end());
  }
}

}  // namespace dadi::pipeline
