// Cases of Go's archive/tar, by the names that its tests have for them, built anew: sparse files and pax records. Go's
// reader is what most container runtimes read layers with. Where the outcome differs, a comment says why.
#include <gtest/gtest.h>

#include "tests/fs/archive_reading.h"
#include "tests/fs/tar_builder.h"

namespace dadi::fs {
namespace {

ReadEntry read_one(const TarBuilder& tar) {
  const auto archive = read_archive(tar.finish());
  EXPECT_TRUE(archive) << archive.error().message();
  if (!archive || archive->entries.size() != 1) return {};
  return archive->entries.front();
}

ErrorCode refusal(const TarBuilder& tar) {
  const auto archive = read_archive(tar.finish());
  EXPECT_FALSE(archive);
  return archive ? ErrorCode::kInternal : archive.error().code();
}

using Extents = decltype(ReadEntry::extents);

// An old GNU sparse file: four pieces in its own header, 21 in each block that follows.
TarBuilder old_sparse(std::int64_t size, const std::vector<std::pair<std::int64_t, std::int64_t>>& pieces,
                      std::string_view content) {
  const auto octal = [](std::int64_t value) {
    std::array<char, 13> text{};
    std::snprintf(text.data(), text.size(), "%011llo", static_cast<long long>(value));
    return std::string(text.data(), 12);
  };
  const auto put = [&](std::string& block, std::size_t at, std::size_t first, std::size_t most) {
    for (std::size_t i = 0; i < most && first + i < pieces.size(); ++i) {
      block.replace(at + 24 * i, 12, octal(pieces[first + i].first));
      block.replace(at + 24 * i + 12, 12, octal(pieces[first + i].second));
    }
  };
  std::string header(512, '\0');
  header.replace(0, 4, "file");
  header.replace(100, 8, std::string("0000644\0", 8));
  header.replace(108, 8, std::string("0000000\0", 8));
  header.replace(116, 8, std::string("0000000\0", 8));
  header.replace(124, 12, octal(static_cast<std::int64_t>(content.size())));
  header.replace(136, 12, octal(0));
  header[156] = 'S';
  header.replace(257, 8, std::string("ustar  \0", 8));
  put(header, 386, 0, 4);
  header[482] = pieces.size() > 4 ? 1 : 0;
  header.replace(483, 12, octal(size));
  header.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "%06o", sum);
  header.replace(148, 7, std::string(text.data(), 7));
  TarBuilder tar;
  tar.raw(header);
  for (std::size_t first = 4; first < pieces.size(); first += 21) {
    std::string block(512, '\0');
    put(block, 0, first, 21);
    block[504] = first + 21 < pieces.size() ? 1 : 0;
    tar.raw(block);
  }
  return tar.raw(content).pad();
}

TEST(GoArchiveTar, SparseFormatsOfAHundredPieces) {
  // "sparse-formats.tar": a byte at every second place of 200.
  std::vector<std::pair<std::int64_t, std::int64_t>> pieces;
  Extents extents;
  std::string map;
  TarBuilder::Records records{{"GNU.sparse.size", "200"}, {"GNU.sparse.numblocks", "100"}};
  std::string lines = "100\n";
  for (int i = 1; i < 200; i += 2) {
    pieces.emplace_back(i, 1);
    extents.emplace_back(i, 1);
    map += (map.empty() ? "" : ",") + std::to_string(i) + ",1";
    records.emplace_back("GNU.sparse.offset", std::to_string(i));
    records.emplace_back("GNU.sparse.numbytes", "1");
    lines += std::to_string(i) + "\n1\n";
  }
  const std::string content(100, 'G');
  lines.resize(round_up(lines.size(), 512));
  const auto check = [&](const ReadEntry& file, const char* format) {
    EXPECT_EQ(file.entry.size, Bytes{200}) << format;
    EXPECT_EQ(file.extents, extents) << format;
  };
  check(read_one(old_sparse(200, pieces, content)), "old");
  check(read_one(TarBuilder().pax(records).file("file", content)), "0.0");
  check(read_one(TarBuilder()
                     .pax({{"GNU.sparse.size", "200"}, {"GNU.sparse.numblocks", "100"}, {"GNU.sparse.map", map}})
                     .file("file", content)),
        "0.1");
  check(read_one(TarBuilder()
                     .pax({{"GNU.sparse.major", "1"},
                           {"GNU.sparse.minor", "0"},
                           {"GNU.sparse.name", "file"},
                           {"GNU.sparse.realsize", "200"}})
                     .file("x", lines + content)),
        "1.0");
}

TEST(GoArchiveTar, NilSparseDataAndHoles) {
  // "gnu-nil-sparse-data", "gnu-nil-sparse-hole", and the same two of pax.
  const ReadEntry data = read_one(old_sparse(1000, {{0, 1000}}, std::string(1000, 'd')));
  EXPECT_EQ(data.extents, (Extents{{0, 1000}}));
  const ReadEntry hole = read_one(old_sparse(1000, {{1000, 0}}, ""));
  EXPECT_EQ(hole.entry.size, Bytes{1000});
  EXPECT_TRUE(hole.extents.empty());
  const TarBuilder::Records pax{{"GNU.sparse.major", "1"},
                                {"GNU.sparse.minor", "0"},
                                {"GNU.sparse.name", "file"},
                                {"GNU.sparse.realsize", "1000"}};
  std::string map = "1\n0\n1000\n";
  map.resize(512);
  EXPECT_EQ(read_one(TarBuilder().pax(pax).file("x", map + std::string(1000, 'd'))).extents, (Extents{{0, 1000}}));
  map = "1\n1000\n0\n";
  map.resize(512);
  EXPECT_TRUE(read_one(TarBuilder().pax(pax).file("x", map)).extents.empty());
}

TEST(GoArchiveTar, SparseMapsOfNonsense) {
  const TarBuilder::Records pax{{"GNU.sparse.major", "1"},
                                {"GNU.sparse.minor", "0"},
                                {"GNU.sparse.name", "file"},
                                {"GNU.sparse.realsize", "1000"}};
  for (const char* text :
       {"1000000000000000000000000000000000000000000000000\n", "-1\n", "x\n", "2\n0\n5\n3\n5\n", "1\n999\n2\n",
        "1\n9223372036854775807\n9223372036854775807\n", "1000000\n0\n1\n", "1\n0\n-5\n"}) {
    std::string map = text;
    map.resize(512);
    EXPECT_EQ(refusal(TarBuilder().pax(pax).file("x", map + "0123456789")), ErrorCode::kCorruption) << text;
  }
  EXPECT_EQ(refusal(old_sparse(1000, {{0, 10}, {5, 10}}, std::string(20, 'x'))), ErrorCode::kCorruption);
  EXPECT_EQ(refusal(old_sparse(10, {{5, 10}}, std::string(10, 'x'))), ErrorCode::kCorruption);
}

TEST(GoArchiveTar, GiganticSparseFilesCostNothing) {
  // "sparse-posix-1.0" of a size near the limit; Go's largest is 2^63-1, ext4's 16 TiB.
  const auto sized = [](const char* size) {
    return TarBuilder().pax({{"GNU.sparse.size", size}, {"GNU.sparse.numblocks", "0"}}).file("x");
  };
  EXPECT_EQ(read_one(sized("17592186040320")).entry.size, Bytes{17592186040320});
  EXPECT_EQ(refusal(sized("17592186040321")), ErrorCode::kUnsupported);
  EXPECT_NE(refusal(sized("9223372036854775807")), ErrorCode::kInternal);
  EXPECT_NE(refusal(sized("9223372036854775808")), ErrorCode::kInternal);
}

TEST(GoArchiveTar, PaxRecordsOfSeveralHeaders) {
  // "pax-multi-hdrs": two of them before one entry. Readers disagree on which counts, so neither is guessed.
  EXPECT_EQ(refusal(TarBuilder()
                        .entry('x', "h", {}, "18 path=first-one\n13 comment=a\n")
                        .pax({{"linkpath", "PAX4/PAX4/long-linkpath-name"}})
                        .symlink("bar", "x")),
            ErrorCode::kCorruption);
  // "pax-pos-size-file", "pax-records": a size, and keys that nobody knows.
  EXPECT_EQ(read_one(TarBuilder()
                         .pax({{"size", "9"}, {"GOLANG.pkg", "tar"}, {"comment", "Hello, \xe4\xb8\x96\xe7\x95\x8c"}})
                         .file("foo", "123456789"))
                .content,
            "123456789");
  // "pax-path-hdr": a path in pax, whatever the header's field has.
  EXPECT_EQ(read_one(TarBuilder().pax({{"path", "PAX1/PAX1/long-path-name"}}).file("ignored")).entry.path,
            "PAX1/PAX1/long-path-name");
}

TEST(GoArchiveTar, PaxRecordsThatAreMalformed) {
  // "pax-bad-hdr-file", "pax-bad-mtime-file", "invalid-go17" and its test of single records.
  for (const char* body : {"not a record at all\n", "50 mtime=1\n", "3 a\n", "5 k=v\n5 k=v\n6 a\n", "\n", "0 k=v\n",
                           "-1 k=v\n", "99999999999999999999 k=v\n", "8 =value\n", "9 mtime=12x"}) {
    EXPECT_EQ(refusal(TarBuilder().entry('x', "h", {}, body).file("f")), ErrorCode::kCorruption) << body;
  }
  EXPECT_EQ(refusal(TarBuilder().pax({{"mtime", "41 PM"}}).file("f")), ErrorCode::kCorruption);
}

TEST(GoArchiveTar, HeadersThatAreMalformed) {
  // "neg-size", "issue10968", "issue11169", "issue12435", "hdr-only".
  EXPECT_NE(refusal(TarBuilder().stated_size(-1).file("f", "x")), ErrorCode::kInternal);
  EXPECT_NE(refusal(TarBuilder().raw(std::string(512, 'x')).file("f")), ErrorCode::kInternal);
  EXPECT_NE(refusal(TarBuilder().entry('x', "h", {}, "x")), ErrorCode::kInternal);
  // "trailing-slash", "ustar-file-devs": device fields of a regular file mean nothing.
  EXPECT_EQ(read_one(TarBuilder().directory("sub/dir/")).entry.attributes.type, FileType::kDirectory);
}

TEST(GoArchiveTar, GlobalRecordsHaveNoEffect) {
  // "pax-global-records": Go hands them out as an entry, which runtimes skip.
  const auto archive = read_archive(
      TarBuilder().pax_global({{"path", "global1"}, {"mtime", "1500000000"}}).file("file1").file("file2").finish());
  ASSERT_TRUE(archive);
  ASSERT_EQ(archive->entries.size(), 2u);
  EXPECT_EQ(archive->entries[0].entry.path, "file1");
}

}  // namespace
}  // namespace dadi::fs
