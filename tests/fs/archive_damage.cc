// Archives that are cut, damaged or followed by something, and sources that fail: what LayerArchive says of each.
#include <gtest/gtest.h>

#include <clocale>
#include <cstdlib>
#include <random>

#include "libfs/layer_archive.h"
#include "tests/fs/archive_reading.h"
#include "tests/fs/tar_builder.h"

namespace dadi::fs {
namespace {

using Archive = std::vector<std::byte>;

Archive cut(Archive bytes, std::size_t size) {
  bytes.resize(size);
  return bytes;
}

Archive joined(Archive first, std::string_view rest) {
  const auto bytes = as_bytes(rest);
  first.insert(first.end(), bytes.begin(), bytes.end());
  return first;
}

std::string refusal(const Archive& bytes) {
  const auto archive = read_archive(bytes);
  EXPECT_FALSE(archive.has_value());
  if (archive) return "";
  EXPECT_EQ(archive.error().code(), ErrorCode::kCorruption);
  return archive.error().message();
}

TEST(DamagedArchive, ZeroBytesAreAnArchiveWithoutEntries) {
  PieceSource source({});
  const auto archive = read_archive(source);
  ASSERT_TRUE(archive.has_value());
  EXPECT_TRUE(archive->entries.empty());
  EXPECT_TRUE(archive->saw_end_marker);
  EXPECT_TRUE(source.drained());
}

TEST(DamagedArchive, AnEndMarkerAloneIsAnArchiveWithoutEntries) {
  for (const std::size_t size : std::initializer_list<std::size_t>{512, 1024, 10240}) {
    const auto archive = read_archive(Archive(size));
    ASSERT_TRUE(archive.has_value()) << size;
    EXPECT_TRUE(archive->entries.empty());
    EXPECT_TRUE(archive->saw_end_marker);
    EXPECT_EQ(archive->trailing_garbage, 0U);
  }
}

TEST(DamagedArchive, RefusesWhatIsNoTar) {
  for (const std::string& text : {std::string("x"), std::string("PK\x03\x04 zip"), std::string(5000, 'x'),
                                  std::string("070701cpio") + std::string(2000, '0'), std::string(100, '\0')}) {
    EXPECT_EQ(refusal(joined({}, text)), "not a tar archive") << text.substr(0, 10);
  }
}

TEST(DamagedArchive, EveryCutInsideAnEntryIsAnErrorThatNamesThePlace) {
  const TarBuilder tar = TarBuilder().file("first", std::string(600, '1')).pax({{"comment", "c"}}).file("second", "2");
  const Archive whole = tar.finish();
  const std::size_t second = 512 + 1024;              // where its pax header starts
  const std::size_t end = second + 1024 + 512 + 512;  // of its content
  ASSERT_EQ(whole.size(), end + 1024);
  for (std::size_t size = 1; size < end; ++size) {
    const std::string message = refusal(cut(whole, size));
    if (size < 512) {
      EXPECT_EQ(message, "not a tar archive");
    } else if (size < second) {
      EXPECT_EQ(message, "entry \"first\": cut short at offset " + std::to_string(size) + ", in its content");
    } else if (size == second) {
      ADD_FAILURE() << "an entry's boundary: not an error";
    } else if (size < end - 512) {
      EXPECT_EQ(message, "cut short in the headers at offset 1536, after entry \"first\"");
    } else {
      EXPECT_EQ(message, "entry \"second\": cut short at offset " + std::to_string(size) + ", in its content");
    }
    if (size + 1 == second) ++size;
  }
}

TEST(DamagedArchive, ACutAtAnEntrysBoundaryShowsInTheMissingEndMarker) {
  TarBuilder tar;
  tar.file("first", "1");
  const std::size_t boundary = tar.size();
  tar.file("second", std::string(512, '\0'));  // zeros that are no end marker
  for (const std::size_t size : std::initializer_list<std::size_t>{boundary, tar.size()}) {
    const auto archive = read_archive(cut(tar.finish(), size));
    ASSERT_TRUE(archive.has_value());
    EXPECT_FALSE(archive->saw_end_marker) << size;
  }
  EXPECT_TRUE(read_archive(cut(tar.finish(), tar.size() + 512))->saw_end_marker);
  EXPECT_TRUE(read_archive(tar.finish())->saw_end_marker);
}

TEST(DamagedArchive, AHeaderWithABadChecksumIsAnError) {
  const TarBuilder tar = TarBuilder().file("first", "1").checksum(7).file("second", "2").file("third", "3");
  EXPECT_EQ(refusal(tar.finish()), "no valid header at offset 1024, after entry \"first\": Damaged tar archive");
}

TEST(DamagedArchive, MalformedPaxRecordsAreErrors) {
  for (const std::string& records : {std::string("7 a=b\n9 x"), std::string("99 a=b\n"), std::string("a=b\n"),
                                     std::string("6 a=b "), std::string("5 =b\n"), std::string("6 abc\n"),
                                     std::string("99999999999999999999 a=b\n"), std::string("0 a=b\n")}) {
    const TarBuilder tar = TarBuilder().file("first").entry('x', "pax", {}, records).file("second");
    EXPECT_NE(refusal(tar.finish()), "") << records;
  }
}

TEST(DamagedArchive, EndlessExtendedHeadersAreErrors) {
  TarBuilder deep;
  deep.file("first");
  for (int i = 0; i < 100; ++i) deep.entry('g', "pax", {}, "6 a=b\n");
  EXPECT_NE(refusal(deep.file("x").finish()), "");
  TarBuilder orphan;
  EXPECT_NE(refusal(orphan.file("first").entry('x', "pax", {}, "6 a=b\n").finish()), "");
  EXPECT_NE(refusal(orphan.unfinished()), "");
}

TEST(DamagedArchive, ASparseMapOfMillionsOfPiecesIsAnError) {
  // Format 1.0: the map is text before the content, as long as the entry; libarchive would keep it all in memory.
  std::string map = "5000000\n";
  for (int i = 0; i < 1'000'000; ++i) map += "1\n0\n1\n0\n";
  const TarBuilder tar = TarBuilder()
                             .file("first")
                             .pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "9"}})
                             .file("sparse", map);
  const auto archive = read_archive(tar.finish());
  ASSERT_FALSE(archive.has_value());
  EXPECT_EQ(archive.error().code(), ErrorCode::kUnsupported);
  EXPECT_EQ(archive.error().message(), "headers of more than 4194304 bytes, after entry \"first\"");
}

TEST(DamagedArchive, WhatFollowsTheEndIsDrainedAndCounted) {
  const Archive tar = TarBuilder().file("x", "1").finish();
  for (const std::size_t piece : std::initializer_list<std::size_t>{100, 512, 65536}) {
    const std::string rest = std::string(700, '\0') + "garbage" + std::string(70'000, '\0');
    PieceSource source(joined(tar, rest), piece);
    const auto archive = read_archive(source);
    ASSERT_TRUE(archive.has_value()) << archive.error().message();
    EXPECT_EQ(archive->entries.size(), 1U);
    EXPECT_EQ(archive->trailing_garbage, 70'007U) << piece;
    EXPECT_TRUE(source.drained());
  }
  EXPECT_EQ(read_archive(joined(tar, std::string(9216, '\0')))->trailing_garbage, 0U);
}

TEST(DamagedArchive, ASecondArchiveAfterTheEndIsGarbage) {
  const Archive second = TarBuilder().file("y", "2").finish();
  const auto archive = read_archive(joined(TarBuilder().file("x", "1").finish(), as_text(second)));
  ASSERT_TRUE(archive.has_value());
  EXPECT_EQ(archive->entries.size(), 1U);
  EXPECT_EQ(archive->trailing_garbage, second.size());
}

TEST(DamagedArchive, ALoneBlockOfZerosBetweenEntriesIsAnError) {
  TarBuilder tar;
  tar.file("first", "1").raw(std::string(512, '\0')).file("second", "2");
  for (const std::size_t piece : std::initializer_list<std::size_t>{100, 512, 65536}) {
    const auto archive = read_archive(tar.finish(), piece);
    ASSERT_FALSE(archive.has_value());
    EXPECT_EQ(archive.error().message(),
              "a lone block of zeros at offset 1024, inside the archive, after entry \"first\"");
  }
}

TEST(DamagedArchive, AFailingSourceIsTheErrorItself) {
  const TarBuilder tar = TarBuilder().pax({{"comment", "c"}}).file("first", std::string(600, '1')).file("second", "2");
  const Archive whole = tar.finish();
  for (const std::size_t size :
       std::initializer_list<std::size_t>{std::size_t{0}, std::size_t{1}, std::size_t{600}, std::size_t{1700},
                                          std::size_t{2100}, tar.size(), tar.size() + 600, whole.size()}) {
    PieceSource source(cut(whole, size), 100);
    source.fail_at_the_end(Error::unavailable("the registry went away").with_hint("Try again."));
    const auto archive = read_archive(source);
    ASSERT_FALSE(archive.has_value()) << size;
    EXPECT_EQ(archive.error().code(), ErrorCode::kUnavailable) << size;
    EXPECT_TRUE(archive.error().message().ends_with("the registry went away")) << archive.error().message();
    EXPECT_EQ(archive.error().hint(), "Try again.") << size;
  }
}

TEST(DamagedArchive, AFailedArchiveStaysFailed) {
  PieceSource source(cut(TarBuilder().file("x", std::string(600, 'x')).finish(), 700));
  const auto archive = LayerArchive::open(source);
  ASSERT_TRUE((*archive)->next_entry().has_value());
  const auto first = (*archive)->next_entry();
  ASSERT_FALSE(first.has_value());
  EXPECT_EQ((*archive)->next_entry().error().message(), first.error().message());
  EXPECT_EQ((*archive)->next_data().error().message(), first.error().message());
}

TEST(DamagedArchive, MessagesShowNoControlCharacters) {
  const auto archive = read_archive(TarBuilder().entry('M', "esc\x1b[31m \"quoted\" \xff gr\xc3\xbcn").finish());
  ASSERT_FALSE(archive.has_value());
  EXPECT_EQ(archive.error().message(),
            "entry \"esc\\x1b[31m \\\"quoted\\\" \\xff gr\xc3\xbcn\": an entry of the tar type \"M\"");
}

TEST(DamagedArchive, TheProcesssLocaleAndTimeZoneDoNotMatter) {
  const Archive tar = TarBuilder().pax({{"path", "gr\xc3\xbc\xc3\x9f"}, {"mtime", "-1.5"}}).file("x").finish();
  const std::string before = std::setlocale(LC_ALL, nullptr);
  for (const char* locale : {"C", "C.UTF-8"}) {
    ASSERT_NE(std::setlocale(LC_ALL, locale), nullptr);
    for (const char* zone : {"UTC", "Asia/Kathmandu"}) {
      setenv("TZ", zone, 1);
      const auto archive = read_archive(tar);
      ASSERT_TRUE(archive.has_value());
      EXPECT_EQ(archive->entries[0].entry.path, "gr\xc3\xbc\xc3\x9f");
      EXPECT_EQ(archive->entries[0].entry.attributes.mtime, (Timestamp{-2, 500'000'000}));
      EXPECT_STREQ(std::setlocale(LC_ALL, nullptr), locale);
    }
  }
  std::setlocale(LC_ALL, before.c_str());
  unsetenv("TZ");
}

// Every dialect at once, as a start for mutations.
Archive rich_archive() {
  std::string map = "2\n0\n4\n900\n6\n";
  map.resize(512);
  return TarBuilder()
      .directory("d")
      .pax({{"SCHILY.xattr.user.a", "v"}, {"mtime", "-1.5"}, {"path", "d/long"}})
      .file("x", "content")
      .gnu_names()
      .file(std::string(150, 'g'), std::string(700, 'g'))
      .symlink("l", "t")
      .hardlink("h", "d/long")
      .pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "1000"}})
      .file("s", map + "headmiddle")
      .pax({{"GNU.sparse.size", "1000"}, {"GNU.sparse.map", "0,4,900,6"}})
      .file("s01", "headmiddle")
      .pax({{"SCHILY.acl.access", "user::rwx,user:1:r--,group::r-x,mask::r--,other::---"},
            {"LIBARCHIVE.xattr.user.b", "dGhl"}})
      .file("acl")
      .pax_global({{"comment", "c"}})
      .device("dev", 'c', 1, 2)
      .fifo("f")
      .file("last", "end")
      .finish();
}

TEST(DamagedArchive, MutationsNeverDoWorseThanFail) {
  std::mt19937 random(20240229);
  const Archive original = rich_archive();
  ASSERT_TRUE(read_archive(original).has_value());
  int read = 0;
  for (int round = 0; round < 5'000; ++round) {
    Archive bytes = original;
    for (unsigned i = 0; i <= random() % 4; ++i) {
      const std::size_t block = random() % (bytes.size() / 512) * 512;
      const std::size_t at = block + random() % 512;
      if (random() % 2 == 0) {
        bytes[at] = static_cast<std::byte>(random());
      } else {
        constexpr std::string_view kLikely = "0123456789 =\n\0\x80\xff,-xgLKSV";
        bytes[at] = static_cast<std::byte>(kLikely[random() % kLikely.size()]);
      }
      // A header with a wrong checksum is found at once: set most of them right again.
      if (random() % 8 != 0) {
        unsigned sum = 8 * ' ';
        for (std::size_t k = 0; k < 512; ++k) {
          if (k < 148 || k >= 156) sum += std::to_integer<unsigned>(bytes[block + k]);
        }
        char text[8];
        std::snprintf(text, sizeof text, "%06o", sum);
        if (as_text(bytes).substr(block + 257, 5) == "ustar") std::memcpy(bytes.data() + block + 148, text, 8);
      }
    }
    if (random() % 8 == 0) bytes.resize(random() % bytes.size());
    PieceSource source(std::move(bytes), 1 + random() % 3000);
    const auto archive = read_archive(source);
    if (archive) {
      ++read;
      EXPECT_TRUE(source.drained());
    } else {
      EXPECT_NE(archive.error().code(), ErrorCode::kInternal) << archive.error().message();
      EXPECT_FALSE(archive.error().message().empty());
    }
  }
  EXPECT_GT(read, 500);  // the mutations reach past the first check
}

}  // namespace
}  // namespace dadi::fs
