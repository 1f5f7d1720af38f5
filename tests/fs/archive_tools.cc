// Archives that other programs write: GNU tar, Python's tarfile, and bsdtar where it is installed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/fs/archive_reading.h"

namespace dadi::fs {
namespace {

class OtherTools : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "dadi-tools-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Runs shell commands in the folder, T being the archive to make.
  void run(const std::string& commands) {
    const std::string script = "cd '" + folder_.string() + "' && T=a.tar && { " + commands + "\n} >log 2>&1";
    ASSERT_EQ(std::system(script.c_str()), 0) << commands << "\n" << text_of("log");
  }
  // Whether this machine, and the file system of the folder, can do it.
  bool works(const std::string& commands) const {
    return std::system(("cd '" + folder_.string() + "' && { " + commands + "; } >log 2>&1").c_str()) == 0;
  }
  static bool have(const std::string& program) {
    return std::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
  }
  std::string text_of(const std::string& name) const {
    std::ifstream file(folder_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  ReadArchive read() const {
    const std::string text = text_of("a.tar");
    auto archive = read_archive({as_bytes(text).begin(), as_bytes(text).end()});
    EXPECT_TRUE(archive.has_value()) << archive.error().message();
    if (!archive) return {};
    EXPECT_TRUE(archive->saw_end_marker);
    EXPECT_EQ(archive->trailing_garbage, 0U);
    return *std::move(archive);
  }

  std::filesystem::path folder_;
};

TEST_F(OtherTools, GnuTarInEveryFormat) {
  run("mkdir -p t/d && echo content >t/d/f && ln t/d/f t/hard && ln -s d/f t/soft && mkfifo t/pipe &&"
      "chmod 2750 t/d && touch -d '2001-02-03 04:05:06.789012345 UTC' t/d/f");
  for (const std::string format : {"v7", "oldgnu", "gnu", "ustar", "posix"}) {
    SCOPED_TRACE(format);
    const std::string pipe = format == "v7" ? " --exclude=pipe" : "";  // which has no fifos
    run("tar --format=" + format + pipe + " --owner=someone:1234 --group=some:5678 --sort=name -C t -cf $T .");
    const ReadArchive archive = read();
    ASSERT_EQ(archive.entries.size(), format == "v7" ? 5U : 6U);
    EXPECT_EQ(archive.entries[0].entry.path, "./");
    EXPECT_EQ(archive.at("./d/").entry.attributes.permissions, 02750);
    EXPECT_EQ(archive.at("./d/f").content, "content\n");
    EXPECT_EQ(archive.at("./d/f").entry.attributes.uid, 1234U);
    EXPECT_EQ(archive.at("./d/f").entry.attributes.gid, 5678U);
    EXPECT_EQ(archive.at("./d/f").entry.attributes.mtime, (Timestamp{981173106, format == "posix" ? 789012345U : 0U}));
    EXPECT_EQ(archive.at("./hard").entry.hardlink, "./d/f");
    EXPECT_EQ(archive.at("./soft").entry.symlink, "d/f");
    if (format != "v7") {
      EXPECT_EQ(archive.at("./pipe").entry.attributes.type, FileType::kFifo);
    }
  }
}

TEST_F(OtherTools, GnuTarsSparseFilesHaveHoles) {
  run("truncate -s 5M sparse && printf begin | dd of=sparse conv=notrunc &&"
      "printf middle | dd of=sparse bs=1 seek=3000000 conv=notrunc");
  const std::string content = text_of("sparse");
  for (const std::string format :
       {"oldgnu", "gnu", "posix --sparse-version=0.0", "posix --sparse-version=0.1", "posix --sparse-version=1.0"}) {
    SCOPED_TRACE(format);
    run("tar --format=" + format + " -S -cf $T sparse");
    const ReadArchive archive = read();
    ASSERT_EQ(archive.entries.size(), 1U);
    EXPECT_EQ(archive.entries[0].entry.path, "sparse");
    EXPECT_EQ(archive.entries[0].entry.size, Bytes{5 << 20});
    EXPECT_TRUE(archive.entries[0].content == content);
    std::uint64_t stored = 0;
    for (const auto& [offset, size] : archive.entries[0].extents) stored += size;
    EXPECT_LE(stored, 64U << 10);
  }
}

TEST_F(OtherTools, GnuTarsSparseMapsOfManyPieces) {
  {
    std::ofstream file(folder_ / "sparse", std::ios::binary);
    for (int i = 0; i < 300; ++i) {
      file.seekp(i * 65536);
      file << 1000 + i;
    }
  }
  const std::string content = text_of("sparse");
  for (const std::string format :
       {"gnu", "posix --sparse-version=0.0", "posix --sparse-version=0.1", "posix --sparse-version=1.0"}) {
    SCOPED_TRACE(format);
    run("tar --format=" + format + " -S -cf $T sparse");
    EXPECT_TRUE(read().at("sparse").content == content);
    EXPECT_GE(read().at("sparse").extents.size(), 300U);
  }
}

TEST_F(OtherTools, GnuTarsLongNamesAndLargeNumbers) {
  const std::string name = std::string(200, 'n') + "/" + std::string(250, 'm');
  run("mkdir " + std::string(200, 'n') + " && echo x >" + name + " && ln -s " + name + " link");
  for (const std::string format : {"gnu", "posix"}) {
    run("tar --format=" + format + " --owner=a:3000000000 --group=b:4000000000 --mtime='2500-01-01 UTC' -cf $T " +
        std::string(200, 'n') + " link");
    const ReadArchive archive = read();
    EXPECT_EQ(archive.at(name).entry.attributes.uid, 3'000'000'000);
    EXPECT_EQ(archive.at(name).entry.attributes.gid, 4'000'000'000);
    EXPECT_EQ(archive.at(name).entry.attributes.mtime, (Timestamp{16'725'225'600, 0}));
    EXPECT_EQ(archive.at("link").entry.symlink, name);
  }
  run("tar --format=gnu --mtime='1901-01-01 UTC' -cf $T link");
  EXPECT_EQ(read().at("link").entry.attributes.mtime, (Timestamp{-2'177'452'800, 0}));
  run("tar --format=posix --mtime='1960-01-01 00:00:00.25 UTC' -cf $T link");
  EXPECT_EQ(read().at("link").entry.attributes.mtime, (Timestamp{-315'619'200, 250'000'000}));
}

TEST_F(OtherTools, GnuTarsOtherKindsOfEntries) {
  run("echo 1 >f && mkdir d && echo 2 >d/g && tar --format=gnu -V label -cf $T f d");
  EXPECT_EQ(read().entries.size(), 3U);
  run("tar --format=gnu -g snapshot -cf $T d");  // directories with a list of their files
  EXPECT_EQ(read().at("d/").entry.attributes.type, FileType::kDirectory);
  EXPECT_EQ(read().at("d/g").content, "2\n");
  run("tar --format=posix --pax-option=globexthdr.name=g,comment=some -cf $T f");
  EXPECT_EQ(read().entries.size(), 1U);
}

TEST_F(OtherTools, GnuTarsExtendedAttributes) {
  if (!works("touch probe && setfattr -n user.a -v x probe")) GTEST_SKIP() << "no setfattr, or no user attributes here";
  run("echo x >f && setfattr -n user.a -v 0x000aff f && setfattr -n user.empty f && tar --xattrs -cf $T f");
  EXPECT_EQ(read().at("f").entry.attributes.xattrs,
            (Xattrs{{"user.a", std::string("\0\n\xff", 3)}, {"user.empty", ""}}));
}

TEST_F(OtherTools, GnuTarsAccessListsEqualTheKernels) {
  if (!works("touch probe && setfacl -m u:1:r probe && getfattr probe"))
    GTEST_SKIP() << "no setfacl and getfattr, or no access lists here";
  run("mkdir d && setfacl -m u:12345:rx,g:23456:w,d:u:12345:rwx d && tar --acls --numeric-owner -cf $T d &&"
      "getfattr --only-values -n system.posix_acl_access d >access && getfattr --only-values -n "
      "system.posix_acl_default d >default");
  const Xattrs xattrs = read().at("d/").entry.attributes.xattrs;
  EXPECT_EQ(xattrs,
            (Xattrs{{"system.posix_acl_access", text_of("access")}, {"system.posix_acl_default", text_of("default")}}));
}

TEST_F(OtherTools, PythonsTarfileInEveryFormat) {
  if (!have("python3")) GTEST_SKIP() << "python3 is not installed";
  for (const std::string format : {"USTAR_FORMAT", "GNU_FORMAT", "PAX_FORMAT"}) {
    SCOPED_TRACE(format);
    run(R"(python3 - <<'END'
import io, tarfile
t = tarfile.open('a.tar', 'w', format=tarfile.)" +
        format + R"()
def add(name, kind=tarfile.REGTYPE, data=b'', **fields):
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for key, value in fields.items(): setattr(info, key, value)
    t.addfile(info, io.BytesIO(data))
add('d', tarfile.DIRTYPE, mode=0o1755)
add('d/f', data=b'content', uid=7, gid=8, mtime=12.75, mode=0o4711)
add('d/' + 'p' * 90 + '/' + 'q' * 90)
add('gr\u00fc\u00df')
add('hard', tarfile.LNKTYPE, linkname='d/f')
add('soft', tarfile.SYMTYPE, linkname='../x')
add('char', tarfile.CHRTYPE, devmajor=5, devminor=1)
add('block', tarfile.BLKTYPE, devmajor=8, devminor=300)
t.close()
END)");
    const ReadArchive archive = read();
    ASSERT_EQ(archive.entries.size(), 8U);
    EXPECT_EQ(archive.entries[0].entry.attributes.permissions, 01755);
    EXPECT_EQ(archive.at("d/f").content, "content");
    EXPECT_EQ(archive.at("d/f").entry.attributes.mtime, (Timestamp{12, format == "PAX_FORMAT" ? 750'000'000U : 0U}));
    EXPECT_EQ(archive.at("d/" + std::string(90, 'p') + "/" + std::string(90, 'q')).entry.size, Bytes{0});
    EXPECT_EQ(archive.at("gr\xc3\xbc\xc3\x9f").entry.size, Bytes{0});
    EXPECT_EQ(archive.at("hard").entry.hardlink, "d/f");
    EXPECT_EQ(archive.at("soft").entry.symlink, "../x");
    EXPECT_EQ(archive.at("char").entry.attributes.device_major, 5U);
    EXPECT_EQ(archive.at("block").entry.attributes.device_minor, 300U);
  }
}

TEST_F(OtherTools, BsdtarInEveryFormat) {
  if (!have("bsdtar")) GTEST_SKIP() << "bsdtar is not installed";
  run("mkdir -p t/d && echo content >t/d/f && ln t/d/f t/hard && ln -s d/f t/soft");
  for (const std::string format : {"ustar", "pax", "gnutar", "v7tar"}) {
    SCOPED_TRACE(format);
    run("bsdtar --format=" + format + " -C t -cf $T .");
    const ReadArchive archive = read();
    ASSERT_EQ(archive.entries.size(), 5U);
    EXPECT_EQ(archive.at("./soft").entry.symlink, "d/f");
  }
}

}  // namespace
}  // namespace dadi::fs
