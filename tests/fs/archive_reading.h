// Reading whole archives in tests.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "libformat/base/bytes.h"
#include "libfs/layer_archive.h"

namespace dadi::fs {

// Gives `bytes` in pieces of `piece_size`, each in memory of its own that is gone with the next call, as the contract
// of ByteSource allows: a sanitizer sees who holds on to it. After the last piece: the end, or `failure`.
class PieceSource final : public ByteSource {
 public:
  explicit PieceSource(std::vector<std::byte> bytes, std::size_t piece_size = 64 << 10)
      : bytes_(std::move(bytes)), piece_size_(piece_size) {}

  void fail_at_the_end(Error failure) { failure_ = std::move(failure); }

  Result<std::span<const std::byte>> next() override {
    const std::size_t size = std::min(piece_size_, bytes_.size() - given_);
    piece_.reset();
    if (size == 0) {
      ended_ = true;
      if (failure_) return *failure_;
      return std::span<const std::byte>();
    }
    piece_ = std::make_unique<std::byte[]>(size);
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(given_), size, piece_.get());
    given_ += size;
    return std::span<const std::byte>(piece_.get(), size);
  }
  // Whether everything was asked for, to the end and the answer that there is no more.
  bool drained() const { return ended_; }

 private:
  std::vector<std::byte> bytes_;
  std::size_t piece_size_;
  std::optional<Error> failure_;
  std::size_t given_ = 0;
  bool ended_ = false;
  std::unique_ptr<std::byte[]> piece_;
};

struct ReadEntry {
  ArchiveEntry entry;
  std::string content;                                           // holes as zeros
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents;  // offset and size of the data, adjacent pieces joined
};

struct ReadArchive {
  std::vector<ReadEntry> entries;
  bool saw_end_marker = false;
  std::uint64_t trailing_garbage = 0;

  // The last entry of this path. REQUIRES: there is one.
  const ReadEntry& at(std::string_view path) const {
    const auto found = std::find_if(entries.rbegin(), entries.rend(), [&](auto& e) { return e.entry.path == path; });
    if (found == entries.rend()) throw std::out_of_range(std::string(path));
    return *found;
  }
};

inline Result<void> read_content(LayerArchive& archive, ReadEntry& into) {
  while (true) {
    DADI_TRY(const auto data, archive.next_data());
    if (!data) return {};
    if (into.content.size() < data->offset.value) into.content.resize(data->offset.value);
    into.content.append(as_text(data->bytes));
    auto& extents = into.extents;
    if (!extents.empty() && extents.back().first + extents.back().second == data->offset.value) {
      extents.back().second += data->bytes.size();
    } else {
      extents.emplace_back(data->offset.value, data->bytes.size());
    }
  }
}

// All entries with all their content. REQUIRES: sizes that fit into memory.
inline Result<ReadArchive> read_archive(ByteSource& source) {
  DADI_TRY(const auto archive, LayerArchive::open(source));
  ReadArchive result;
  while (true) {
    DADI_TRY(ArchiveEntry * entry, archive->next_entry());
    if (!entry) break;
    ReadEntry& read = result.entries.emplace_back();
    read.entry = std::move(*entry);
    DADI_CHECK(read_content(*archive, read).context("entry \"{}\"", read.entry.path));
    if (read.entry.size.value <= (std::uint64_t{1} << 30)) read.content.resize(read.entry.size.value);
  }
  result.saw_end_marker = archive->saw_end_marker();
  result.trailing_garbage = archive->trailing_garbage().value;
  return result;
}

inline Result<ReadArchive> read_archive(std::vector<std::byte> bytes, std::size_t piece_size = 64 << 10) {
  PieceSource source(std::move(bytes), piece_size);
  return read_archive(source);
}

}  // namespace dadi::fs
