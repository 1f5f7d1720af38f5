// EntriesAhead gives what the archive gives, error for error, whatever the row of sizes.
#include "libconvert/pipeline/entries_ahead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "libformat/base/bytes.h"
#include "libformat/blob/memory_blob.h"
#include "libfs/pax_writer.h"

namespace dadi::pipeline {
namespace {

using Entries = std::vector<std::pair<std::string, std::size_t>>;  // names and sizes

class TextSink final : public ByteSink {
 public:
  Result<void> write(std::span<const std::byte> data) override {
    text += as_text(data);
    return {};
  }
  std::string text;
};

std::string content_of(const std::string& name, std::size_t size) {
  std::string content;
  while (content.size() < size) content += name + "\n";
  content.resize(size);
  return content;
}

std::string archive_of(const Entries& entries) {
  TextSink sink;
  fs::PaxWriter writer(sink);
  for (const auto& [name, size] : entries) {
    fs::ArchiveEntry entry;
    entry.path = name;
    entry.size = Bytes{size};
    EXPECT_TRUE(writer.begin(entry));
    EXPECT_TRUE(writer.data(as_bytes(content_of(name, size))));
    EXPECT_TRUE(writer.end());
  }
  EXPECT_TRUE(writer.finish());
  return sink.text;
}

// The sizes of a Debian layer, more or less: rows of small files of any length, large ones in between.
Entries random_entries(unsigned seed, std::size_t count) {
  std::mt19937 random(seed);
  Entries entries;
  while (entries.size() < count) {
    for (std::size_t row = random() % 400; row > 0; --row)
      entries.emplace_back("small" + std::to_string(entries.size()), random() % 3 == 0 ? 0 : random() % 4000);
    for (std::size_t row = random() % 3; row > 0; --row)
      entries.emplace_back("large" + std::to_string(entries.size()), 10'000 + random() % 50'000);
  }
  return entries;
}

// In pieces of a kilobyte, whose memory is written over with the next.
class Pieces final : public ByteSource {
 public:
  explicit Pieces(const std::string& text) : text_(text) {}

  Result<std::span<const std::byte>> next() override {
    piece_ = text_.substr(at_, 1000);
    at_ += piece_.size();
    return as_bytes(piece_);
  }

 private:
  const std::string& text_;
  std::string piece_;
  std::size_t at_ = 0;
};

// All that a reader hears; `reads` says of which entries it reads the content.
std::string heard(fs::EntrySource& entries, const std::function<bool(std::size_t)>& reads) {
  std::string all;
  for (std::size_t number = 0;; ++number) {
    const auto entry = entries.next_entry();
    if (!entry) return all + "error: " + entry.error().message();
    if (!*entry) return all + "end";
    all += (*entry)->path + ": ";
    if (!reads(number)) continue;
    while (true) {
      const auto data = entries.next_data();
      if (!data) {
        all += "error in it: " + data.error().message() + "\n";
        break;
      }
      if (!*data) break;
      all += as_text((*data)->bytes);
    }
  }
}

std::string heard(const std::string& archive, bool ahead, const std::function<bool(std::size_t)>& reads) {
  Pieces source(archive);
  const auto plain = fs::LayerArchive::open(source);
  if (!plain) return plain.error().message();
  if (!ahead) return heard(**plain, reads);
  EntriesAhead entries(**plain);
  return heard(entries, reads);
}

bool all_of_them(std::size_t) {
  return true;
}

// Nothing, or how two of them begin to differ: they are long.
std::string difference(const std::string& archive, const std::function<bool(std::size_t)>& reads) {
  const std::string found = heard(archive, true, reads);
  const std::string wanted = heard(archive, false, reads);
  const auto at = static_cast<std::size_t>(std::ranges::mismatch(found, wanted).in1 - found.begin());
  return found == wanted ? "" : found.substr(at, 200) + " instead of " + wanted.substr(at, 200);
}

TEST(EntriesAhead, GivesWhatTheArchiveGives) {
  for (unsigned seed = 1; seed <= 6; ++seed) {
    const std::string archive = archive_of(random_entries(seed, 3000));
    EXPECT_EQ(difference(archive, all_of_them), "") << seed;
  }
}

TEST(EntriesAhead, ContentThatNobodyReadsIsSkipped) {
  const std::string archive = archive_of(random_entries(7, 2000));
  const auto every_third = [](std::size_t number) { return number % 3 == 0; };
  EXPECT_EQ(difference(archive, every_third), "");
}

TEST(EntriesAhead, AnArchiveCutAnywhereFailsAtThatPlace) {
  const std::string whole = archive_of(random_entries(8, 300));
  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    const std::string cut = whole.substr(0, random() % whole.size());
    EXPECT_EQ(difference(cut, all_of_them), "") << cut.size();
  }
}

TEST(EntriesAhead, AFileWhoseContentIsCutIsNamedToWhoPassesItOver) {
  Entries entries(200, {"small", 100});
  entries.emplace_back("last", 2000);
  const std::string cut = archive_of(entries);
  const auto none = [](std::size_t) { return false; };
  const std::string said = heard(cut.substr(0, cut.size() - 2500), true, none);
  EXPECT_NE(said.find("error: entry \"last\": cut short"), said.npos) << said.substr(said.size() - 200);
}

TEST(EntriesAhead, ErrorsStay) {
  const std::string whole = archive_of(Entries(200, {"small", 100}));
  const std::string cut = whole.substr(0, 100 * 1024 + 100);  // within a header
  Pieces source(cut);
  const auto plain = fs::LayerArchive::open(source);
  ASSERT_TRUE(plain);
  EntriesAhead entries(**plain);
  Result<fs::ArchiveEntry*> entry = nullptr;
  do {
    entry = entries.next_entry();
  } while (entry && *entry);
  ASSERT_FALSE(entry);
  for (int i = 0; i < 3; ++i) {
    const auto again = entries.next_entry();
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().message(), entry.error().message());
  }
}

// Names and attributes can be megabytes in each entry: they count, too.
TEST(EntriesAhead, LargeAttributesBoundWhatIsReadAhead) {
  class Attributed final : public fs::EntrySource {
   public:
    Result<fs::ArchiveEntry*> next_entry() override {
      EXPECT_TRUE(entry.attributes.xattrs.empty()) << "what was handed on and comes back keeps no megabytes";
      entry.path = "file";
      entry.attributes.xattrs["user.large"] = std::string(std::size_t{1} << 20, 'x');
      ++given;
      return &entry;
    }
    Result<std::optional<fs::ArchiveData>> next_data() override { return std::nullopt; }
    fs::ArchiveEntry entry;
    std::size_t given = 0;
  };
  Attributed source;
  constexpr std::size_t kRead = 100;
  {
    EntriesAhead entries(source);
    for (std::size_t i = 0; i < kRead; ++i) {
      const auto entry = entries.next_entry();
      ASSERT_TRUE(entry);
      if (i < 64) (*entry)->attributes.xattrs.clear();  // the source's own: it is not read ahead yet
    }
  }
  EXPECT_LE(source.given, kRead + 4);
}

// Whoever plans may fail at any entry: the thread ends, wherever it is.
TEST(EntriesAhead, MayBeLeftAtAnyEntry) {
  const std::string archive = archive_of(random_entries(9, 1000));
  for (std::size_t last = 0; last < 1000; last += 37) {
    Pieces source(archive);
    const auto plain = fs::LayerArchive::open(source);
    ASSERT_TRUE(plain);
    EntriesAhead entries(**plain);
    for (std::size_t i = 0; i <= last; ++i) ASSERT_TRUE(entries.next_entry());
  }
}

}  // namespace
}  // namespace dadi::pipeline
