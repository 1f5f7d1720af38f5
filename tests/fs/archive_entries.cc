// What LayerArchive makes of each kind of entry and of each dialect's records.
#include <gtest/gtest.h>

#include <limits>

#include "libfs/layer_archive.h"
#include "tests/fs/archive_reading.h"
#include "tests/fs/tar_builder.h"

namespace dadi::fs {
namespace {

ReadArchive read(const TarBuilder& tar) {
  auto archive = read_archive(tar.finish());
  EXPECT_TRUE(archive.has_value()) << (archive ? "" : archive.error().message());
  return archive ? *std::move(archive) : ReadArchive{};
}

// The one entry of an archive.
ReadEntry read_one(const TarBuilder& tar) {
  ReadArchive archive = read(tar);
  EXPECT_EQ(archive.entries.size(), 1U);
  return archive.entries.empty() ? ReadEntry{} : archive.entries.front();
}

Error refusal(const TarBuilder& tar) {
  auto archive = read_archive(tar.finish());
  EXPECT_FALSE(archive.has_value());
  return archive ? Error::internal("it was read") : archive.error();
}

TEST(LayerArchive, ReadsEveryTypeOfFile) {
  const ReadArchive archive = read(TarBuilder()
                                       .mode(01777)
                                       .owner(1, 2)
                                       .mtime(3)
                                       .directory("tmp")
                                       .mode(04755)
                                       .owner(4, 5)
                                       .mtime(6)
                                       .file("bin", "content")
                                       .symlink("link", "../there")
                                       .hardlink("hard", "bin")
                                       .device("null", 'c', 1, 3)
                                       .device("sda", 'b', 8, 1048575)
                                       .fifo("pipe")
                                       .entry('7', "contiguous", {}, "as regular"));
  ASSERT_EQ(archive.entries.size(), 8U);
  EXPECT_EQ(archive.entries[0].entry.path, "tmp/");
  EXPECT_EQ(
      archive.entries[0].entry.attributes,
      (Attributes{
          .type = FileType::kDirectory, .permissions = 01777, .uid = 1, .gid = 2, .mtime = {3, 0}, .xattrs = {}}));
  EXPECT_EQ(archive.at("bin").entry.attributes,
            (Attributes{
                .type = FileType::kRegular, .permissions = 04755, .uid = 4, .gid = 5, .mtime = {6, 0}, .xattrs = {}}));
  EXPECT_EQ(archive.at("bin").entry.size, Bytes{7});
  EXPECT_EQ(archive.at("bin").content, "content");
  EXPECT_EQ(archive.at("link").entry.attributes.type, FileType::kSymlink);
  EXPECT_EQ(archive.at("link").entry.symlink, "../there");
  EXPECT_EQ(archive.at("hard").entry.hardlink, "bin");
  EXPECT_EQ(archive.at("null").entry.attributes.type, FileType::kCharacterDevice);
  EXPECT_EQ(archive.at("null").entry.attributes.device_major, 1U);
  EXPECT_EQ(archive.at("null").entry.attributes.device_minor, 3U);
  EXPECT_EQ(archive.at("sda").entry.attributes.type, FileType::kBlockDevice);
  EXPECT_EQ(archive.at("sda").entry.attributes.device_minor, 1048575U);
  EXPECT_EQ(archive.at("pipe").entry.attributes.type, FileType::kFifo);
  EXPECT_EQ(archive.at("contiguous").entry.attributes.type, FileType::kRegular);
  EXPECT_EQ(archive.at("contiguous").content, "as regular");
  EXPECT_TRUE(archive.saw_end_marker);
}

TEST(LayerArchive, TakesAFileWhoseNameEndsInASlashForADirectory) {
  EXPECT_EQ(read_one(TarBuilder().file("old/")).entry.attributes.type, FileType::kDirectory);
  EXPECT_EQ(read_one(TarBuilder().entry('\0', "old/")).entry.attributes.type, FileType::kDirectory);
  EXPECT_EQ(read_one(TarBuilder().entry('\0', "old")).entry.attributes.type, FileType::kRegular);
}

TEST(LayerArchive, TheSameEntriesComeOutWhateverThePiecesOfTheSource) {
  TarBuilder tar;
  tar.directory("d").pax(
      {{"path", std::string(250, 'p') + "/" + std::string(250, 'q')}, {"SCHILY.xattr.user.a", std::string(2000, 'v')}});
  tar.file("x", std::string(1500, 'c')).hardlink("h", "x").gnu_names().file(std::string(200, 'g'), "g");
  tar.stated_size(700).entry('1', "h2", "x").file("last", "1");
  const auto whole = read_archive(tar.finish(), tar.size() + 1024);
  ASSERT_TRUE(whole.has_value()) << whole.error().message();
  ASSERT_EQ(whole->entries.size(), 6U);
  for (const std::size_t piece : std::initializer_list<std::size_t>{1, 7, 100, 511, 512, 513, 1024, 4096}) {
    const auto again = read_archive(tar.finish(), piece);
    ASSERT_TRUE(again.has_value()) << piece << ": " << again.error().message();
    ASSERT_EQ(again->entries.size(), whole->entries.size());
    for (std::size_t i = 0; i < whole->entries.size(); ++i) {
      EXPECT_EQ(again->entries[i].entry.path, whole->entries[i].entry.path) << piece;
      EXPECT_EQ(again->entries[i].entry.attributes, whole->entries[i].entry.attributes) << piece;
      EXPECT_EQ(again->entries[i].content, whole->entries[i].content) << piece;
    }
  }
}

TEST(LayerArchive, SkipsContentThatNobodyReads) {
  PieceSource source(TarBuilder().file("a", std::string(5000, 'a')).file("b", "b").finish(), 700);
  const auto archive = LayerArchive::open(source);
  ASSERT_TRUE(archive.has_value());
  EXPECT_EQ((*archive)->next_entry().value()->path, "a");
  EXPECT_EQ((*archive)->next_data()->value().offset, Bytes{0});  // a part of it only
  EXPECT_EQ((*archive)->next_entry().value()->path, "b");
  EXPECT_EQ(as_text((*archive)->next_data()->value().bytes), "b");
  EXPECT_FALSE((*archive)->next_data()->has_value());
  EXPECT_FALSE((*archive)->next_data()->has_value());
  EXPECT_EQ((*archive)->next_entry().value(), nullptr);
  EXPECT_EQ((*archive)->next_entry().value(), nullptr);
}

// --- names

TEST(LayerArchive, ReadsLongNamesOfEveryDialect) {
  const std::string name = std::string(200, 'n') + "/" + std::string(255, 'm');
  EXPECT_EQ(read_one(TarBuilder().file(name)).entry.path, name);
  EXPECT_EQ(read_one(TarBuilder().gnu_names().file(name)).entry.path, name);
  EXPECT_EQ(read_one(TarBuilder().prefix("usr/share").file("x")).entry.path, "usr/share/x");
  EXPECT_EQ(read_one(TarBuilder().symlink("l", name)).entry.symlink, name);
  EXPECT_EQ(read_one(TarBuilder().gnu_names().symlink("l", name)).entry.symlink, name);
  EXPECT_EQ(read_one(TarBuilder().gnu_names().hardlink("l", name)).entry.hardlink, name);
  EXPECT_EQ(read_one(TarBuilder().hardlink("l", name)).entry.hardlink, name);
}

TEST(LayerArchive, NamesAreBytes) {
  for (const std::string name : {"gr\xc3\xbc\xc3\x9f", "latin-\xfc", "\xff\xfe", "new\nline", "\xf0\x9f\x90\x8b",
                                 "decomposed-u\xcc\x88", "cesu-\xed\xa0\x81\xed\xb0\x80"}) {
    EXPECT_EQ(read_one(TarBuilder().file(name)).entry.path, name);
    EXPECT_EQ(read_one(TarBuilder().pax({{"path", name}}).file("x")).entry.path, name);
    EXPECT_EQ(read_one(TarBuilder().pax({{"hdrcharset", "BINARY"}, {"path", name}}).file("x")).entry.path, name);
    EXPECT_EQ(read_one(TarBuilder().pax({{"linkpath", name}}).symlink("x", "y")).entry.symlink, name);
    EXPECT_EQ(read_one(TarBuilder().pax({{"linkpath", name}}).hardlink("x", "y")).entry.hardlink, name);
    EXPECT_EQ(read_one(TarBuilder().pax({{"uname", name}, {"gname", name}}).file("x")).entry.path, "x");
  }
}

TEST(LayerArchive, AnEmptyPaxNameMeansTheHeadersOwn) {
  EXPECT_EQ(read_one(TarBuilder().pax({{"path", ""}}).file("x")).entry.path, "x");
}

TEST(LayerArchive, RefusesEmptyNumbers) {
  for (const char* key : {"uid", "gid", "size", "mtime"}) {
    EXPECT_EQ(refusal(TarBuilder().pax({{key, ""}}).file("x")).code(), ErrorCode::kCorruption) << key;
  }
}

TEST(LayerArchive, RefusesNamesThatNoFileSystemHolds) {
  const std::string component = std::string(256, 'c');
  EXPECT_EQ(refusal(TarBuilder().file(component)).message(),
            "entry \"" + component + "\": a name of 256 bytes, 255 at most");
  EXPECT_EQ(refusal(TarBuilder().file("a/" + component + "/b")).code(), ErrorCode::kUnsupported);
  EXPECT_EQ(refusal(TarBuilder().whiteout("a/" + component)).code(), ErrorCode::kUnsupported);
  EXPECT_EQ(refusal(TarBuilder().file(".wh." + component.substr(1) + "/b")).code(), ErrorCode::kUnsupported);
  std::string path;
  while (path.size() < 4096) path += "directory/";
  EXPECT_EQ(refusal(TarBuilder().file(path + "x")).code(), ErrorCode::kUnsupported);
  EXPECT_EQ(refusal(TarBuilder().symlink("x", path)).code(), ErrorCode::kUnsupported);
  EXPECT_EQ(refusal(TarBuilder().file("")).message(), "entry \"\": an empty name");
  EXPECT_EQ(refusal(TarBuilder().symlink("x", "")).message(), "entry \"x\": a link without a target");
  EXPECT_EQ(refusal(TarBuilder().pax({{"path", std::string("a\0b", 3)}}).file("x")).code(), ErrorCode::kCorruption);
  EXPECT_EQ(refusal(TarBuilder().pax({{"linkpath", std::string("a\0b", 3)}}).symlink("x", "y")).code(),
            ErrorCode::kCorruption);
}

// --- numbers and times

TEST(LayerArchive, ReadsIdsOfThirtyTwoBitsAndNoMore) {
  const auto ids = [](const TarBuilder& tar) {
    const Attributes attributes = read_one(tar).entry.attributes;
    return std::pair(attributes.uid, attributes.gid);
  };
  const std::pair<std::uint32_t, std::uint32_t> large{3'000'000'000, 4'294'967'295};
  EXPECT_EQ(ids(TarBuilder().owner(3'000'000'000, 4'294'967'295).file("x")), large);  // base-256
  EXPECT_EQ(ids(TarBuilder().pax({{"uid", "3000000000"}, {"gid", "4294967295"}}).file("x")), large);
  EXPECT_EQ(refusal(TarBuilder().owner(4'294'967'296, 0).file("x")).message(),
            "entry \"x\": a user id of 4294967296, not within 32 bits");
  EXPECT_EQ(refusal(TarBuilder().owner(0, -2).file("x")).message(),
            "entry \"x\": a group id of -2, not within 32 bits");
  EXPECT_EQ(refusal(TarBuilder().pax({{"uid", "-1"}}).file("x")).code(), ErrorCode::kUnsupported);
  EXPECT_EQ(refusal(TarBuilder().pax({{"gid", "0x10"}}).file("x")).code(), ErrorCode::kCorruption);
}

TEST(LayerArchive, ReadsTimesOfAllCenturiesToTheNanosecond) {
  const auto pax_time = [](const char* text) {
    return read_one(TarBuilder().pax({{"mtime", text}}).file("x")).entry.attributes.mtime;
  };
  EXPECT_EQ(pax_time("1700000000.123456789"), (Timestamp{1'700'000'000, 123'456'789}));
  EXPECT_EQ(pax_time("1700000000.1234567899"), (Timestamp{1'700'000'000, 123'456'789}));
  EXPECT_EQ(pax_time("4294967296.5"), (Timestamp{4'294'967'296, 500'000'000}));
  EXPECT_EQ(pax_time("17"), (Timestamp{17, 0}));
  EXPECT_EQ(pax_time("17."), (Timestamp{17, 0}));
  EXPECT_EQ(pax_time("-1000000000.25"), (Timestamp{-1'000'000'001, 750'000'000}));
  EXPECT_EQ(pax_time("-1"), (Timestamp{-1, 0}));
  EXPECT_EQ(pax_time("-0.5"), (Timestamp{-1, 500'000'000}));
  EXPECT_EQ(pax_time("-0"), (Timestamp{0, 0}));
  EXPECT_EQ(pax_time("9223372036854775807"), (Timestamp{std::numeric_limits<std::int64_t>::max(), 0}));
  EXPECT_EQ(read_one(TarBuilder().mtime(-5).file("x")).entry.attributes.mtime, (Timestamp{-5, 0}));
  EXPECT_EQ(read_one(TarBuilder().mtime(1LL << 40).file("x")).entry.attributes.mtime, (Timestamp{1LL << 40, 0}));
  for (const char* wrong : {"x", "1.x", "-", ".5", "1e9", "9223372036854775808", "--1", "1.-5"}) {
    EXPECT_EQ(refusal(TarBuilder().pax({{"mtime", wrong}}).file("x")).code(), ErrorCode::kCorruption) << wrong;
  }
}

TEST(LayerArchive, ReadsSizesFromPaxRecords) {
  EXPECT_EQ(read_one(TarBuilder().stated_size(0).pax({{"size", "600"}}).file("x", std::string(600, 's'))).content,
            std::string(600, 's'));
}

TEST(LayerArchive, RefusesSizesThatNoFileHas) {
  EXPECT_EQ(refusal(TarBuilder().stated_size(17LL << 40).file("vast")).message(),
            "entry \"vast\": a size of 18691697672192 bytes; a file has 17592186040320 at most");
  EXPECT_EQ(refusal(TarBuilder().stated_size(std::numeric_limits<std::int64_t>::max()).file("vast")).message(),
            "entry \"vast\": Tar entry size overflow");
  EXPECT_EQ(refusal(TarBuilder().stated_size(-1).file("less")).message(),
            "entry \"less\": Tar entry has negative size");
  for (const char* size : {"9223372036854775807", "9223372036854775808", "99999999999999999999999", "-1", "12x"}) {
    const Error error = refusal(TarBuilder().pax({{"size", size}}).file("vast"));
    EXPECT_EQ(error.code(), ErrorCode::kCorruption) << size;
    EXPECT_NE(error.message().find(size[2] == 'x' ? "12x" : "\"vast\""), std::string::npos) << error.message();
  }
  EXPECT_EQ(refusal(TarBuilder().pax({{"size", "5"}}).directory("d")).code(), ErrorCode::kCorruption);
}

TEST(LayerArchive, RefusesDeviceNumbersOutOfRange) {
  EXPECT_EQ(refusal(TarBuilder().device("x", 'c', 4096, 0)).message(),
            "entry \"x\": the device number 4096:0 is out of range");
  EXPECT_EQ(refusal(TarBuilder().device("x", 'b', 0, 1 << 20)).code(), ErrorCode::kUnsupported);
  EXPECT_EQ(refusal(TarBuilder().device("x", 'b', -1, 0)).code(), ErrorCode::kUnsupported);
}

// --- extended attributes

TEST(LayerArchive, ReadsExtendedAttributesOfBothRecords) {
  const std::string capability("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\n\x00\x00\x00\x00\x00\x00\x00\x00\x00", 20);
  const Xattrs xattrs = read_one(TarBuilder()
                                     .pax({{"SCHILY.xattr.user.plain", "value"},
                                           {"SCHILY.xattr.user.empty", ""},
                                           {"SCHILY.xattr.user.50%25=", "a=b"},
                                           {"SCHILY.xattr.security.capability", capability},
                                           {"LIBARCHIVE.xattr.user.b%20c", "dGhlIHZhbHVl"},
                                           {"RHT.security.selinux", std::string("system_u\0", 9)}})
                                     .file("x"))
                            .entry.attributes.xattrs;
  // A key ends at its first equals sign.
  EXPECT_EQ(xattrs, (Xattrs{{"user.plain", "value"},
                            {"user.empty", ""},
                            {"user.50%25", "=a=b"},
                            {"security.capability", capability},
                            {"user.b c", "the value"},
                            {"security.selinux", std::string("system_u\0", 9)}}));
}

TEST(LayerArchive, TheLastRecordOfAnAttributeCounts) {
  EXPECT_EQ(read_one(TarBuilder().pax({{"SCHILY.xattr.user.a", "1"}, {"SCHILY.xattr.user.a", "2"}}).file("x"))
                .entry.attributes.xattrs,
            (Xattrs{{"user.a", "2"}}));
}

TEST(LayerArchive, ReadsAttributesOfALargeSize) {
  const std::string value(65536, 'v');
  EXPECT_EQ(read_one(TarBuilder().pax({{"SCHILY.xattr.user.large", value}}).file("x")).entry.attributes.xattrs,
            (Xattrs{{"user.large", value}}));
}

TEST(LayerArchive, AccessListsBecomeTheKernelsAttribute) {
  const Attributes attributes =
      read_one(TarBuilder()
                   .mode(0775)
                   .pax({{"SCHILY.acl.access", "user::rwx,user:bob:r-x:1000,group::r-x,mask::rwx,other::r-x"},
                         {"SCHILY.acl.default", "user::rwx,group::---,other::---"}})
                   .directory("d"))
          .entry.attributes;
  const std::string none(4, '\xff');
  const auto entry = [](char tag, char permissions, const std::string& id) {
    return std::string({tag, 0, permissions, 0}) + id;
  };
  const std::string version("\x02\0\0\0", 4);
  EXPECT_EQ(
      attributes.xattrs,
      (Xattrs{{"system.posix_acl_access", version + entry(1, 7, none) + entry(2, 5, std::string("\xe8\x03\0\0", 4)) +
                                              entry(4, 5, none) + entry(16, 7, none) + entry(32, 5, none)},
              {"system.posix_acl_default", version + entry(1, 7, none) + entry(4, 0, none) + entry(32, 0, none)}}));
  EXPECT_EQ(attributes.permissions, 0775);  // the group's bits are the mask's, as stat would say
}

TEST(LayerArchive, AnAccessListThatSaysNoMoreThanTheModeIsNone) {
  EXPECT_EQ(read_one(TarBuilder().pax({{"SCHILY.acl.access", "user::rw-,group::r--,other::r--"}}).file("x"))
                .entry.attributes.xattrs,
            Xattrs{});
}

TEST(LayerArchive, AnAccessListAsAttributeGoesBeforeOneAsText) {
  EXPECT_EQ(read_one(TarBuilder()
                         .pax({{"SCHILY.xattr.system.posix_acl_access", "binary"},
                               {"SCHILY.acl.access", "user::rwx,user:1:r-x,group::r-x,mask::rwx,other::r-x"}})
                         .file("x"))
                .entry.attributes.xattrs,
            (Xattrs{{"system.posix_acl_access", "binary"}}));
}

TEST(LayerArchive, RefusesAccessListsThatItCannotKeep) {
  EXPECT_EQ(
      refusal(
          TarBuilder().pax({{"SCHILY.acl.access", "user::rwx,user:bob:r--,group::r--,mask::r--,other::r--"}}).file("x"))
          .message(),
      "entry \"x\": SCHILY.acl.access: the ACL entry \"user:bob:r--\" names its user or group without a number");
  EXPECT_EQ(refusal(TarBuilder().pax({{"SCHILY.acl.access", "nonsense"}}).file("x")).code(), ErrorCode::kCorruption);
}

// --- sparse files

TEST(LayerArchive, SparseFilesOfEveryFormatHaveHoles) {
  // 100,000 bytes: "head" at 0, "middle" at 50,000, and a hole to the end.
  const std::string stored = "headmiddle";
  const auto check = [](const ReadEntry& file, const char* format) {
    EXPECT_EQ(file.entry.path, "real") << format;
    EXPECT_EQ(file.entry.size, Bytes{100'000}) << format;
    EXPECT_EQ(file.extents, (decltype(file.extents){{0, 4}, {50'000, 6}})) << format;
    EXPECT_EQ(file.content.substr(50'000, 6), "middle") << format;
  };
  check(read_one(TarBuilder()
                     .pax({{"GNU.sparse.size", "100000"},
                           {"GNU.sparse.numblocks", "3"},
                           {"GNU.sparse.offset", "0"},
                           {"GNU.sparse.numbytes", "4"},
                           {"GNU.sparse.offset", "50000"},
                           {"GNU.sparse.numbytes", "6"},
                           {"GNU.sparse.offset", "100000"},
                           {"GNU.sparse.numbytes", "0"}})
                     .file("real", stored)),
        "0.0");
  check(read_one(TarBuilder()
                     .pax({{"GNU.sparse.size", "100000"},
                           {"GNU.sparse.numblocks", "3"},
                           {"GNU.sparse.name", "real"},
                           {"GNU.sparse.map", "0,4,50000,6,100000,0"}})
                     .file("GNUSparseFile.1/real", stored)),
        "0.1");
  std::string map = "3\n0\n4\n50000\n6\n100000\n0\n";
  map.resize(512);
  check(read_one(TarBuilder()
                     .pax({{"GNU.sparse.major", "1"},
                           {"GNU.sparse.minor", "0"},
                           {"GNU.sparse.name", "real"},
                           {"GNU.sparse.realsize", "100000"}})
                     .file("GNUSparseFile.1/real", map + stored)),
        "1.0");
}

TEST(LayerArchive, AFileMayBeOneHole) {
  const ReadEntry file =
      read_one(TarBuilder().pax({{"GNU.sparse.size", "5000"}, {"GNU.sparse.numblocks", "0"}}).file("x"));
  EXPECT_EQ(file.entry.size, Bytes{5000});
  EXPECT_TRUE(file.extents.empty());
}

TEST(LayerArchive, RefusesSparseMapsThatContradictTheFile) {
  const auto sparse = [](const char* map, std::string_view content) {
    return TarBuilder()
        .pax({{"GNU.sparse.size", "1000"}, {"GNU.sparse.numblocks", "2"}, {"GNU.sparse.map", map}})
        .file("x", content);
  };
  EXPECT_EQ(refusal(sparse("0,4,998,6", "headmiddle")).code(), ErrorCode::kCorruption);  // past the end
  EXPECT_EQ(refusal(sparse("500,4,2,6", "headmiddle")).code(), ErrorCode::kCorruption);  // backwards
  EXPECT_EQ(refusal(sparse("0,4,2,6", "headmiddle")).code(), ErrorCode::kCorruption);    // overlapping
  EXPECT_EQ(refusal(sparse("0,4,500,60", "headmiddle")).message(),
            "entry \"x\": 10 bytes of content, but 64 in its sparse map");
  EXPECT_EQ(refusal(sparse("0,a", "head")).code(), ErrorCode::kCorruption);
  EXPECT_EQ(refusal(TarBuilder().pax({{"GNU.sparse.major", "2"}, {"GNU.sparse.minor", "0"}}).file("x", "y")).code(),
            ErrorCode::kCorruption);
  EXPECT_EQ(refusal(TarBuilder().pax({{"SCHILY.realsize", "1000"}}).file("x", "y")).code(), ErrorCode::kUnsupported);
}

// --- links, other types, global headers

TEST(LayerArchive, SkipsAHardlinksBody) {
  const ReadArchive archive =
      read(TarBuilder().pax({{"comment", "pax"}}).entry('1', "hard", "target", "body").file("next", "n"));
  ASSERT_EQ(archive.entries.size(), 2U);
  EXPECT_EQ(archive.entries[0].entry.hardlink, "target");
  EXPECT_EQ(archive.entries[0].content, "");
  EXPECT_EQ(archive.at("next").content, "n");
}

TEST(LayerArchive, AHardlinkMayStateASizeWithoutABody) {
  const ReadArchive archive = read(TarBuilder().stated_size(700).hardlink("hard", "target").file("next", "n"));
  ASSERT_EQ(archive.entries.size(), 2U);
  EXPECT_EQ(archive.at("next").content, "n");
}

TEST(LayerArchive, RefusesAHardlinkWhoseBodyCouldBeTheNextEntry) {
  const Error error =
      refusal(TarBuilder().pax({{"comment", "pax"}}).stated_size(700).hardlink("hard", "target").file("next", "n"));
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_NE(error.message().find("entry \"hard\""), std::string::npos) << error.message();
}

TEST(LayerArchive, RefusesTypesThatAreNoFiles) {
  for (const char type : {'M', 'N', 'A', 'Z', 'E', 'I', '8', '\x01'}) {
    const Error error = refusal(TarBuilder().file("first").entry(type, "odd"));
    EXPECT_TRUE(error.code() == ErrorCode::kUnsupported || type == 'A') << type;
    EXPECT_NE(error.message().find(type == 'A' ? "" : "entry \"odd\""), std::string::npos) << error.message();
  }
}

TEST(LayerArchive, SkipsVolumeLabelsAndGlobalHeaders) {
  const ReadArchive archive = read(TarBuilder()
                                       .entry('V', "label")
                                       .pax_global({{"comment", "a commit"}, {"uid", "7"}, {"path", "elsewhere"}})
                                       .file("x", "1")
                                       .pax_global({{"mtime", "5"}})
                                       .pax({{"gid", "3"}})
                                       .file("y", "2"));
  ASSERT_EQ(archive.entries.size(), 2U);
  EXPECT_EQ(archive.at("x").entry.attributes.uid, 0U);
  EXPECT_EQ(archive.at("y").entry.attributes.gid, 3U);
  EXPECT_EQ(archive.at("y").entry.attributes.mtime, Timestamp{});
}

TEST(LayerArchive, FilesThatLookLikeMacMetadataAreFiles) {
  const ReadArchive archive = read(TarBuilder().file("._x", "blob").file("x", "1"));
  ASSERT_EQ(archive.entries.size(), 2U);
  EXPECT_EQ(archive.at("._x").content, "blob");
}

}  // namespace
}  // namespace dadi::fs
