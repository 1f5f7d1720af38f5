// Limits on what archives may hold: counted while they are read, over all layers of an image.
#include "libfs/archive_budget.h"

#include <gtest/gtest.h>

#include "tests/fs/archive_reading.h"
#include "tests/fs/tar_builder.h"

namespace dadi::fs {
namespace {

// Reads an archive to its end, content included.
Result<std::size_t> read_all(const TarBuilder& tar, ArchiveBudget& budget) {
  PieceSource source(tar.finish(), 4096);
  DADI_TRY(const auto archive, LayerArchive::open(source, &budget));
  for (std::size_t entries = 0;; ++entries) {
    DADI_TRY(const auto entry, archive->next_entry());
    if (!entry) return entries;
    ReadEntry read;
    DADI_CHECK(read_content(*archive, read).context("entry \"{}\"", entry->path));
  }
}

TEST(ArchiveBudget, CountsTheEntriesOfAllLayers) {
  ArchiveBudget budget({.entries = 3});
  EXPECT_EQ(read_all(TarBuilder().directory("a").hardlink("b", "c"), budget).value(), 2u);
  const auto third = read_all(TarBuilder().file("d").file("one-too-many"), budget);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code(), ErrorCode::kExhausted);
  EXPECT_EQ(third.error().message(), "entry \"one-too-many\": more than 3 entries in the image's layers");
  EXPECT_NE(third.error().hint().find("--max-entries"), std::string::npos);
}

TEST(ArchiveBudget, CountsEveryByteAndNamesTheEntryWhoseContentIsTooMuch) {
  ArchiveBudget budget({.size = {20'000}});
  EXPECT_TRUE(read_all(TarBuilder().file("fits", std::string(9000, 'x')), budget));
  const auto second = read_all(TarBuilder().file("small").file("large", std::string(50'000, 'x')), budget);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::kExhausted);
  EXPECT_EQ(second.error().message(), "entry \"large\": more than 20000 bytes in the image's layers, uncompressed");
  EXPECT_NE(second.error().hint().find("--max-size"), std::string::npos);
}

TEST(ArchiveBudget, CountsHeadersAndWhatFollowsTheEndToo) {
  ArchiveBudget few({.size = {20'000}});
  TarBuilder headers;
  for (int i = 0; i < 100; ++i) headers.file("f" + std::to_string(i));
  const auto many = read_all(headers, few);
  ASSERT_FALSE(many);
  EXPECT_NE(many.error().message().find("after entry \"f"), std::string::npos) << many.error().message();

  ArchiveBudget again({.size = {20'000}});
  const auto trailing = read_all(TarBuilder().file("f").raw(std::string(100'000, '\0')), again);
  ASSERT_FALSE(trailing);
  EXPECT_EQ(trailing.error().code(), ErrorCode::kExhausted);
}

TEST(ArchiveBudget, HolesCostNothing) {
  ArchiveBudget budget({.size = {20'000}});
  EXPECT_TRUE(read_all(
      TarBuilder().pax({{"GNU.sparse.size", "1000000000000"}, {"GNU.sparse.numblocks", "0"}}).file("a hole of 1 TB"),
      budget));
}

}  // namespace
}  // namespace dadi::fs
