// The entries of an archive, read on a thread of their own where there are many small ones in a row: to read one costs
// half of what it costs to plan it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "libfs/layer_archive.h"

namespace dadi::pipeline {

// Gives what `archive` would, which is borrowed, and must not be used until this has given its end or is destroyed. Of
// small files the content is copied. At a large one, whose content is handed on as it lies in the source's buffers, the
// thread stops, and goes on only after a row of small ones. Memory: 1 MiB, or three of the
// archive's entries, if those are larger. Destroying it may take as long as a read of the archive's source.
class EntriesAhead final : public fs::EntrySource {
 public:
  explicit EntriesAhead(fs::EntrySource& archive) : archive_(archive) {}
  ~EntriesAhead() override;
  EntriesAhead(const EntriesAhead&) = delete;
  EntriesAhead& operator=(const EntriesAhead&) = delete;

  Result<fs::ArchiveEntry*> next_entry() override;
  Result<std::optional<fs::ArchiveData>> next_data() override;

 private:
  struct Piece {
    Bytes offset;  // in the file
    std::size_t begin;
    std::size_t size;
  };
  struct Item {
    fs::ArchiveEntry entry;
    std::size_t first_piece;
    std::size_t end_of_pieces;
  };
  struct Batch {
    std::vector<Item> items;  // of which some may be left of an earlier use, for their paths' memory
    std::size_t used = 0;
    std::vector<Piece> pieces;
    std::vector<std::byte> content;  // of all pieces
    // What comes after the items, if no other batch does.
    enum class After { kBatch, kContent, kEnd, kError } after = After::kBatch;
    std::optional<Error> error;          // kError: of next_entry()
    std::optional<Error> content_error;  // kError: of next_data(), after what there is of the last item's content
  };
  using Lock = std::unique_lock<std::mutex>;

  void start();
  void read();
  void fill(Batch& batch);
  Result<void> copy_content(Batch& batch);
  void take_next_batch();

  fs::EntrySource& archive_;

  // The caller's.
  bool ahead_ = false;        // entries come in batches; else from the archive
  std::size_t in_a_row_ = 0;  // small entries that came from the archive
  Batch* batch_ = nullptr;
  std::size_t next_item_ = 0;
  std::size_t piece_ = 0;
  std::size_t end_of_pieces_ = 0;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopped_ = false;
  bool reading_ = false;  // the archive is the thread's
  std::vector<std::unique_ptr<Batch>> batches_;
  std::deque<Batch*> free_;
  std::deque<Batch*> ready_;
  std::jthread thread_;  // once there was a row; last: it uses all of the above
};

}  // namespace dadi::pipeline
