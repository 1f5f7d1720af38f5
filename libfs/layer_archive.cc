#include "libfs/layer_archive.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "libformat/base/bytes.h"
#include "libfs/archive_headers.h"
#include "libfs/archive_input.h"
#include "libfs/archive_locale.h"
#include "libfs/archive_text.h"
#include "libfs/archive_translation.h"

namespace dadi::fs {

namespace {

// The most that one entry's headers may take, extended ones and sparse maps included: libarchive keeps them in memory,
// some of them many times over.
constexpr Bytes kLargestHeaders{std::uint64_t{4} << 20};

// Warnings that lose nothing: names are taken from the pax records themselves, and those of users are not used.
bool is_harmless(std::string_view warning) {
  return warning.ends_with("can't be converted from UTF-8 to current locale.");
}

struct FreeArchive {
  void operator()(archive* reader) const { archive_read_free(reader); }
};
struct FreeEntry {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};

}  // namespace

// libarchive's reader and what is known of the current entry. Every call into libarchive is made under ArchiveLocale.
class LayerArchive::Stream {
 public:
  Stream(ByteSource& source, ArchiveBudget* budget) : input_(source), budget_(budget), entry_(archive_entry_new()) {}

  Result<void> open();
  Result<ArchiveEntry*> next_entry();
  Result<std::optional<ArchiveData>> next_data();

  bool saw_end_marker() const { return saw_end_marker_; }
  Bytes trailing_garbage() const { return trailing_garbage_; }

  // The first error, if there was one: nothing works after it.
  std::optional<Error> failure;

 private:
  static la_ssize_t read(archive* reader, void* self, const void** buffer);

  std::string_view message() const;
  std::string after_last() const;
  Bytes position() const { return {static_cast<std::uint64_t>(archive_filter_bytes(reader_.get(), -1))}; }

  Result<std::span<const std::byte>> next_piece();
  Result<void> skip_content();
  Result<void> check_hardlink_body();
  Result<void> check_whole_content() const;
  Error header_error(int status, Bytes start);
  Error content_error() const;
  Error named_content_error() const;
  Result<void> finish(Bytes start);

  ArchiveInput input_;
  ArchiveBudget* budget_;                         // none: without limits
  std::unique_ptr<archive, FreeArchive> reader_;  // none: the archive has zero bytes
  std::unique_ptr<archive_entry, FreeEntry> entry_;
  std::optional<Error> source_error_;
  bool starved_ = false;  // libarchive wanted more bytes than there are
  bool ended_ = false;
  bool saw_end_marker_ = false;
  Bytes trailing_garbage_;

  ArchiveEntry translated_;       // the current entry, or what its reader left of it
  std::string path_;              // of the current entry, as in the archive; or of the last
  bool has_content_ = false;      // the current entry is a regular file whose content was not read to its end
  Bytes size_;                    // of that file
  Bytes content_end_;             // where the last piece of it ended
  Bytes content_read_;            // what all pieces had together
  std::optional<Bytes> content_;  // what they must have, if a sparse map says so
};

// The next bytes of the source, if the budget has them. Within a file's content the caller knows the entry.
Result<std::span<const std::byte>> LayerArchive::Stream::next_piece() {
  DADI_TRY(const auto piece, input_.next_piece());
  if (budget_ == nullptr) return piece;
  auto within = budget_->take(Bytes{piece.size()});
  if (!within && !has_content_ && !path_.empty())
    within = std::move(within).context("after entry {}", in_quotes(path_));
  DADI_CHECK(std::move(within));
  return piece;
}

la_ssize_t LayerArchive::Stream::read(archive* reader, void* self, const void** buffer) {
  auto& stream = *static_cast<Stream*>(self);
  auto piece = stream.next_piece();
  if (piece && stream.input_.remembered() > kLargestHeaders) {
    piece = Error::unsupported("headers of more than {} bytes{}", kLargestHeaders.value, stream.after_last());
  }
  if (!piece) {
    stream.source_error_ = std::move(piece).error();
    archive_set_error(reader, EIO, "the source failed");
    return ARCHIVE_FATAL;
  }
  stream.starved_ |= piece->empty();
  *buffer = piece->data();
  return static_cast<la_ssize_t>(piece->size());
}

Result<void> LayerArchive::Stream::open() {
  DADI_CHECK(ArchiveLocale::check());
  DADI_TRY(const bool empty, input_.at_end());
  if (empty) {
    ended_ = saw_end_marker_ = true;
    return {};
  }
  const ArchiveLocale locale;
  reader_.reset(archive_read_new());
  archive* reader = reader_.get();
  if (reader == nullptr || entry_ == nullptr) return Error::exhausted("no memory for an archive reader");
  int status = archive_read_support_format_tar(reader);
  // Off, whatever their defaults: each of them would change entries or add to them.
  for (const char* option : {"mac-ext", "compat-2x", "read_concatenated_archives"}) {
    status = std::min(status, archive_read_set_format_option(reader, "tar", option, nullptr));
  }
  if (status != ARCHIVE_OK) return Error::internal("the archive library cannot read tar: {}", message());
  if (archive_read_open(reader, this, nullptr, &Stream::read, nullptr) == ARCHIVE_OK) return {};
  if (source_error_) return *source_error_;
  return Error::corruption("not a tar archive");
}

std::string_view LayerArchive::Stream::message() const {
  const char* text = archive_error_string(reader_.get());
  return text == nullptr ? "malformed" : text;
}

std::string LayerArchive::Stream::after_last() const {
  return path_.empty() ? "" : ", after entry " + in_quotes(path_);
}

Result<ArchiveEntry*> LayerArchive::Stream::next_entry() {
  if (ended_) return nullptr;
  const ArchiveLocale locale;
  DADI_CHECK(skip_content());
  const Bytes start = position();
  input_.mark(start);
  const int status = archive_read_next_header2(reader_.get(), entry_.get());
  if (status == ARCHIVE_EOF) {
    DADI_CHECK(finish(start));
    return nullptr;
  }
  if (status != ARCHIVE_OK && (status != ARCHIVE_WARN || !is_harmless(message()))) return header_error(status, start);
  const auto blocks = input_.since_mark(position());
  // Names are put in quotes for errors alone: that takes longer than the rest of this.
  auto headers = parse_entry_headers(blocks);
  if (!headers) return std::move(headers).error().context("headers at offset {}{}", start.value, after_last());
  path_ = entry_path(entry_.get(), *headers);
  ArchiveEntry& entry = translated_;
  entry.path = path_;
  auto translated = translate_entry(entry_.get(), *headers, entry);
  if (!translated) return std::move(translated).error().context("entry {}", in_quotes(path_));
  input_.forget();
  if (budget_ != nullptr) {
    auto counted = budget_->take_entries(1);
    if (!counted) return std::move(counted).error().context("entry {}", in_quotes(path_));
  }
  if (entry.hardlink && archive_entry_size(entry_.get()) > 0) DADI_CHECK(check_hardlink_body());

  has_content_ = !entry.hardlink && entry.attributes.type == FileType::kRegular;
  size_ = entry.size;
  content_end_ = content_read_ = {};
  content_.reset();
  if (archive_entry_sparse_reset(entry_.get()) > 0) {
    content_.emplace();
    la_int64_t offset = 0;
    la_int64_t length = 0;
    while (archive_entry_sparse_next(entry_.get(), &offset, &length) == ARCHIVE_OK) {
      *content_ += Bytes{static_cast<std::uint64_t>(length)};
    }
  }
  return &entry;
}

Result<std::optional<ArchiveData>> LayerArchive::Stream::next_data() {
  if (!has_content_) return std::nullopt;
  const ArchiveLocale locale;
  const void* data = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  do {
    const int status = archive_read_data_block(reader_.get(), &data, &size, &offset);
    if (status == ARCHIVE_EOF) {
      has_content_ = false;
      DADI_CHECK(check_whole_content());
      return std::nullopt;
    }
    if (status != ARCHIVE_OK) return content_error();
  } while (size == 0);
  const Bytes at{static_cast<std::uint64_t>(offset)};  // a negative one is past every end
  if (at < content_end_ || at > size_ || Bytes{size} > size_ - at)
    return Error::corruption("{} bytes of content at offset {}, out of order or past its end", size, at.value);
  content_end_ = at + Bytes{size};
  content_read_ += Bytes{size};
  return ArchiveData{at, {static_cast<const std::byte*>(data), size}};
}

// A sparse map may promise more than the entry holds; of other files libarchive makes sure.
Result<void> LayerArchive::Stream::check_whole_content() const {
  if (content_ && *content_ != content_read_)
    return Error::corruption("{} bytes of content, but {} in its sparse map", content_read_.value, content_->value);
  return {};
}

Result<void> LayerArchive::Stream::skip_content() {
  has_content_ = false;
  if (archive_file_count(reader_.get()) == 0) return {};
  if (archive_read_data_skip(reader_.get()) < ARCHIVE_WARN) return named_content_error();
  return {};
}

// In a pax archive a hardlink that states a size has a body of that size, says libarchive; it has none, say others.
// Where the body looks like the next entry's header, nobody can tell, and one of the two would lose entries silently.
Result<void> LayerArchive::Stream::check_hardlink_body() {
  std::array<std::byte, kTarBlock> block{};
  std::size_t filled = 0;
  while (filled < block.size()) {
    const void* data = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    const int status = archive_read_data_block(reader_.get(), &data, &size, &offset);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK) return named_content_error();
    const std::size_t part = std::min(size, block.size() - filled);
    std::memcpy(block.data() + filled, data, part);
    filled += part;
  }
  if (filled == block.size() && is_entry_header(block))
    return Error::unsupported("entry {}: a hardlink with a size, and no telling its content from the next entry",
                              in_quotes(path_));
  return {};
}

Error LayerArchive::Stream::header_error(int status, Bytes start) {
  if (source_error_) return *source_error_;
  if (starved_) return Error::corruption("cut short in the headers at offset {}{}", start.value, after_last());
  // The name may not have been read yet when reading failed. After a bad checksum (ARCHIVE_RETRY) there is none.
  const auto headers = parse_entry_headers(input_.since_mark(position()));
  std::string name(headers && status != ARCHIVE_RETRY ? entry_path(entry_.get(), *headers) : "");
  if (headers && status != ARCHIVE_RETRY && name.empty()) name = headers->name;
  if (!name.empty()) return Error::corruption("entry {}: {}", in_quotes(name), message());
  return Error::corruption("no valid header at offset {}{}: {}", start.value, after_last(), message());
}

Error LayerArchive::Stream::content_error() const {
  if (source_error_) return *source_error_;
  if (starved_) return Error::corruption("cut short at offset {}, in its content", input_.delivered().value);
  return Error::corruption("{}", message());
}

Error LayerArchive::Stream::named_content_error() const {
  if (source_error_) return *source_error_;
  return content_error().context("entry {}", in_quotes(path_));
}

// libarchive stops at a block of zeros, takes a second one along, and takes the stream's end for the archive's as well.
Result<void> LayerArchive::Stream::finish(Bytes start) {
  ended_ = true;
  const Bytes end = position();
  const auto blocks = input_.since_mark(end);
  const auto is_zero = [&](std::size_t from_back) {
    return blocks.size() >= from_back * kTarBlock && all_zero(blocks.last(from_back * kTarBlock).first(kTarBlock));
  };
  saw_end_marker_ = is_zero(1);
  const bool lone = is_zero(1) && !is_zero(2);

  Bytes at = end;  // of the bytes looked at
  std::optional<Bytes> garbage;
  const auto look = [&](std::span<const std::byte> bytes) {
    if (!garbage && !all_zero(bytes)) {
      const auto first = std::ranges::find_if(bytes, [](std::byte value) { return value != std::byte{0}; });
      garbage = at + Bytes{static_cast<std::uint64_t>(first - bytes.begin())};
    }
    at += Bytes{bytes.size()};
  };
  look(input_.since_mark(input_.delivered()).subspan((end - start).value));
  input_.forget();
  while (true) {
    DADI_TRY(const auto piece, next_piece());
    if (piece.empty()) break;
    look(piece);
  }
  if (garbage) trailing_garbage_ = at - *garbage;
  if (lone && garbage && *garbage < end + Bytes{kTarBlock})
    return Error::corruption("a lone block of zeros at offset {}, inside the archive{}", (end - Bytes{kTarBlock}).value,
                             after_last());
  return {};
}

LayerArchive::LayerArchive(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {}
LayerArchive::~LayerArchive() = default;

Result<std::unique_ptr<LayerArchive>> LayerArchive::open(ByteSource& source, ArchiveBudget* budget) {
  auto stream = std::make_unique<Stream>(source, budget);
  DADI_CHECK(stream->open());
  return std::unique_ptr<LayerArchive>(new LayerArchive(std::move(stream)));
}

Result<ArchiveEntry*> LayerArchive::next_entry() {
  if (stream_->failure) return *stream_->failure;
  auto entry = stream_->next_entry();
  if (!entry) stream_->failure = entry.error();
  return entry;
}

Result<std::optional<ArchiveData>> LayerArchive::next_data() {
  if (stream_->failure) return *stream_->failure;
  auto data = stream_->next_data();
  if (!data) stream_->failure = data.error();
  return data;
}

bool LayerArchive::saw_end_marker() const {
  return stream_->saw_end_marker();
}
Bytes LayerArchive::trailing_garbage() const {
  return stream_->trailing_garbage();
}

}  // namespace dadi::fs
