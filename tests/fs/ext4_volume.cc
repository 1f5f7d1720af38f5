// Reading file systems that mke2fs and debugfs made, at many parameters, against the folder that they were made from.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <map>

#include "libformat/base/bytes.h"
#include "libformat/base/endian.h"
#include "libfs/ext4/layout.h"
#include "libfs/ext4/volume.h"
#include "tests/fs/ext4_fixture.h"

namespace dadi::fs {
namespace {

namespace stdfs = std::filesystem;

std::string file_bytes(const stdfs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::string content(const Volume& volume, const Inode& inode) {
  std::string text(inode.size.value, '?');
  const auto read = volume.read(inode, {0}, std::as_writable_bytes(std::span(text)));
  EXPECT_TRUE(read) << read.error().message();
  return text;
}

// The tree below a folder of the host and one below a directory of a volume, entry by entry.
class TreeComparison {
 public:
  explicit TreeComparison(const Volume& volume) : volume_(volume) {}

  void compare(const stdfs::path& host, const Inode& inode) {
    SCOPED_TRACE(host.string());
    struct stat status = {};
    ASSERT_EQ(::lstat(host.c_str(), &status), 0);
    ++entries_;
    EXPECT_EQ(inode.attributes.permissions, status.st_mode & 07777);
    EXPECT_EQ(inode.attributes.uid, status.st_uid);
    EXPECT_EQ(inode.attributes.gid, status.st_gid);
    const auto [known, is_new] = inodes_.try_emplace(status.st_ino, inode.number);
    EXPECT_EQ(known->second, inode.number);
    if (S_ISDIR(status.st_mode)) {
      compare_directory(host, inode);
      return;
    }
    EXPECT_EQ(inode.links, status.st_nlink);
    EXPECT_EQ(inode.attributes.mtime.seconds, status.st_mtim.tv_sec);
    EXPECT_EQ(inode.size.value, static_cast<std::uint64_t>(status.st_size));
    if (S_ISLNK(status.st_mode)) {
      ASSERT_EQ(inode.attributes.type, FileType::kSymlink);
      EXPECT_EQ(*volume_.read_link(inode), stdfs::read_symlink(host).string());
    } else {
      ASSERT_EQ(inode.attributes.type, FileType::kRegular);
      EXPECT_TRUE(content(volume_, inode) == file_bytes(host));
    }
  }

  std::size_t entries() const { return entries_; }

 private:
  void compare_directory(const stdfs::path& host, const Inode& inode) {
    ASSERT_EQ(inode.attributes.type, FileType::kDirectory);
    std::map<std::string, InodeNumber> names;
    auto list = volume_.list(inode);
    ASSERT_TRUE(list) << list.error().message();
    for (const DirectoryEntry& entry : *list) EXPECT_TRUE(names.emplace(entry.name, entry.inode).second) << entry.name;
    names.erase("lost+found");
    for (const auto& entry : stdfs::directory_iterator(host)) {
      const auto found = names.find(entry.path().filename().string());
      ASSERT_NE(found, names.end()) << entry.path();
      auto child = volume_.inode(found->second);
      ASSERT_TRUE(child) << child.error().message();
      names.erase(found);
      compare(entry.path(), *child);
    }
    EXPECT_TRUE(names.empty());
  }

  const Volume& volume_;
  std::map<ino_t, InodeNumber> inodes_;
  std::size_t entries_ = 0;
};

std::shared_ptr<const Volume> open_volume(const stdfs::path& image) {
  auto volume = Volume::open(std::make_shared<test::FileDevice>(image));
  if (volume) return *volume;
  ADD_FAILURE() << volume.error().message();
  return nullptr;
}

// One image of a small folder, with what debugfs can add.
class VolumeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_e2fsprogs()) GTEST_SKIP() << "needs e2fsprogs";
    stdfs::create_directory(source_);
    test::fill_source_folder(source_);
  }

  std::shared_ptr<const Volume> make(const test::ImageRecipe& recipe) {
    test::make_image(recipe, source_, image_);
    return HasFatalFailure() ? nullptr : open_volume(image_);
  }

  test::ScratchFolder scratch_;
  stdfs::path source_ = scratch_.path() / "source";
  stdfs::path image_ = scratch_.path() / "image";
};

TEST_F(VolumeTest, ReadsWhatMke2fsWroteAtManyParameters) {
  const char* const kOptions[] = {
      test::kOwnOptions,
      "-t ext4 -b 4096",
      "-t ext4 -b 1024",
      "-t ext4 -b 2048 -I 128",
      "-t ext4 -b 4096 -O metadata_csum_seed,^resize_inode",
      "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg",
      "-t ext4 -b 4096 -O ^metadata_csum,^64bit,sparse_super2",
      "-t ext4 -b 4096 -O ^dir_index,^filetype",
      "-t ext4 -b 1024 -O ^extents,^64bit,^flex_bg,^metadata_csum,^has_journal",
      "-t ext4 -b 4096 -O ^extents,^64bit,large_dir",
  };
  for (const char* options : kOptions) {
    for (const bool index_directories : {false, true}) {
      SCOPED_TRACE(fmt::format("{}, indexed: {}", options, index_directories));
      const auto volume = make({.options = options, .size = "48M", .index_directories = index_directories});
      ASSERT_NE(volume, nullptr);
      TreeComparison comparison(*volume);
      comparison.compare(source_, *volume->inode(kRootInode));
      EXPECT_GT(comparison.entries(), 830U);
    }
  }
}

TEST_F(VolumeTest, DecodesTimesIdsAndDevicesAtTheEndsOfTheirRanges) {
  const auto volume = make({.options = "-t ext4", .size = "32M", .debugfs = R"(mknod old c 4 64
mknod new b 1 1
set_inode_field /new block[0] 0
set_inode_field /new block[1] 0xffffffff
mknod pipe p
set_inode_field /etc/one mtime @-2147483648
set_inode_field /etc/one atime @15032385535
set_inode_field /etc/one atime_extra 0xee6b27ff
set_inode_field /etc/one ctime_extra 0x4
set_inode_field /etc/one crtime @1
set_inode_field /etc/one uid 4294967294
set_inode_field /etc/one gid 65536
)"});
  ASSERT_NE(volume, nullptr);
  const Inode inode = test::inode_at(*volume, "etc/one");
  EXPECT_EQ(inode.attributes.mtime, (Timestamp{.seconds = -2147483648LL, .nanoseconds = 0}));
  EXPECT_EQ(inode.atime, (Timestamp{.seconds = 15032385535, .nanoseconds = 999'999'999}));
  EXPECT_EQ(inode.ctime.nanoseconds, 1U);
  EXPECT_EQ(inode.crtime.seconds, 1);
  EXPECT_EQ(inode.attributes.uid, 4294967294U);
  EXPECT_EQ(inode.attributes.gid, 65536U);
  const Inode old_device = test::inode_at(*volume, "old");
  EXPECT_EQ(old_device.attributes.type, FileType::kCharacterDevice);
  EXPECT_EQ(old_device.attributes.device_major, 4U);
  EXPECT_EQ(old_device.attributes.device_minor, 64U);
  const Inode new_device = test::inode_at(*volume, "new");
  EXPECT_EQ(new_device.attributes.type, FileType::kBlockDevice);
  EXPECT_EQ(new_device.attributes.device_major, 4095U);
  EXPECT_EQ(new_device.attributes.device_minor, 1048575U);
  EXPECT_EQ(test::inode_at(*volume, "pipe").attributes.type, FileType::kFifo);
}

TEST_F(VolumeTest, GivesXattrsAsTheKernelWould) {
  const std::string large(900, 'v');
  std::ofstream(scratch_.path() / "large") << large;
  // Version 2, then owner rw, user 1000 r, group r, mask r, other none. debugfs stores it as ext4 does.
  const std::string acl(
      "\2\0\0\0\1\0\6\0\xff\xff\xff\xff\2\0\4\0\xe8\3\0\0\4\0\4\0\xff\xff\xff\xff"
      "\x10\0\4\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff",
      44);
  std::ofstream(scratch_.path() / "acl", std::ios::binary) << acl;
  const auto volume = make({.options = "-t ext4 -b 4096",
                            .size = "32M",
                            .debugfs = fmt::format("ea_set /etc/attributes user.small value\n"
                                                   "ea_set /etc/attributes user.empty \"\"\n"
                                                   "ea_set -f {0}/large /etc/attributes user.large\n"
                                                   "ea_set /etc/attributes security.label x\n"
                                                   "ea_set /etc/attributes trusted.one 1\n"
                                                   "ea_set -f {0}/acl /etc/attributes system.posix_acl_access\n",
                                                   scratch_.path().string())});
  ASSERT_NE(volume, nullptr);
  const auto xattrs = volume->xattrs(test::inode_at(*volume, "etc/attributes"));
  ASSERT_TRUE(xattrs) << xattrs.error().message();
  EXPECT_EQ(*xattrs, (Xattrs{{"user.small", "value"},
                             {"user.empty", ""},
                             {"user.large", large},
                             {"security.label", "x"},
                             {"trusted.one", "1"},
                             {"system.posix_acl_access", acl}}));
  EXPECT_EQ(*volume->xattrs(test::inode_at(*volume, "etc/one")), Xattrs{});
}

TEST_F(VolumeTest, ReadsAnyPieceOfAFileWithHoles) {
  const auto volume = make({.options = test::kOwnOptions, .size = "16M"});
  ASSERT_NE(volume, nullptr);
  const std::string whole = file_bytes(source_ / "islands");
  const Inode inode = test::inode_at(*volume, "islands");
  for (std::uint64_t offset = 0; offset < whole.size(); offset += 1777) {
    std::string piece(std::min<std::uint64_t>(9001, whole.size() - offset), '?');
    ASSERT_TRUE(volume->read(inode, {offset}, std::as_writable_bytes(std::span(piece))));
    ASSERT_EQ(piece, whole.substr(offset, piece.size())) << offset;
  }
  std::string past(2, '?');
  const auto refused = volume->read(inode, inode.size - Bytes{1}, std::as_writable_bytes(std::span(past)));
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(VolumeTest, ReadsUnwrittenExtentsAsZeros) {
  const auto volume = make({.options = test::kOwnOptions,
                            .size = "16M",
                            .debugfs = "fallocate /etc/one 1 9\n"
                                       "set_inode_field /etc/one size 40960\n"});
  ASSERT_NE(volume, nullptr);
  const Inode inode = test::inode_at(*volume, "etc/one");
  const auto extents = volume->extents(inode);
  ASSERT_TRUE(extents);
  ASSERT_FALSE(extents->empty());
  EXPECT_TRUE(extents->back().unwritten);
  std::string due = file_bytes(source_ / "etc/one");
  due.resize(40960);
  EXPECT_EQ(content(*volume, inode), due);
}

TEST_F(VolumeTest, ExtentsCoverAFileAndLeaveOutItsHoles) {
  for (const char* options : {test::kOwnOptions, "-t ext4 -b 4096 -O ^extents,^64bit"}) {
    const auto volume = make({.options = options, .size = "16M"});
    ASSERT_NE(volume, nullptr);
    const auto extents = volume->extents(test::inode_at(*volume, "islands"));
    ASSERT_TRUE(extents);
    ASSERT_EQ(extents->size(), 60U);
    for (std::size_t i = 0; i < extents->size(); ++i) {
      EXPECT_EQ((*extents)[i].logical, 3 * i);
      EXPECT_EQ((*extents)[i].count, 1U);
      EXPECT_FALSE((*extents)[i].unwritten);
    }
  }
}

TEST_F(VolumeTest, ResolvesPathsInsideTheRoot) {
  const auto volume = make({.options = test::kOwnOptions, .size = "16M"});
  ASSERT_NE(volume, nullptr);
  const InodeNumber one = test::inode_at(*volume, "/etc/one").number;
  const auto number = [&](std::string_view path, bool follow) {
    const auto inode = volume->resolve(path, follow);
    return inode ? inode->number : 0;
  };
  EXPECT_EQ(number("", true), kRootInode);
  EXPECT_EQ(number("/", true), kRootInode);
  EXPECT_EQ(number("../..", true), kRootInode);
  EXPECT_EQ(number("etc/./../etc//one", false), one);
  EXPECT_EQ(number("etc/one more", false), one);
  EXPECT_EQ(number("etc/short", true), one);
  EXPECT_NE(number("etc/short", false), one);
  EXPECT_EQ(number("absolute/one", false), one);
  EXPECT_EQ(number("etc/upwards", true), one);
  EXPECT_EQ(number("absolute/", false), test::inode_at(*volume, "etc").number);
  const auto code = [&](std::string_view path) { return volume->resolve(path, true).error().code(); };
  EXPECT_EQ(code("etc/none"), ErrorCode::kNotFound);
  EXPECT_EQ(code("etc/long"), ErrorCode::kNotFound);
  EXPECT_EQ(code("etc/one/more"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code("etc/one/"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code("loop"), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(std::string(5000, '/')), ErrorCode::kInvalidArgument);
}

TEST_F(VolumeTest, RefusesWhatItDoesNotKnow) {
  stdfs::remove_all(source_);
  stdfs::create_directory(source_);
  for (const char* feature : {"inline_data", "bigalloc", "encrypt", "casefold", "meta_bg,^resize_inode", "mmp"}) {
    const test::CommandResult made =
        test::run(fmt::format("rm -f {0}; mke2fs -q -F -t ext4 -O {1} {0} 32M", image_.string(), feature));
    ASSERT_EQ(made.status, 0) << made.output;
    const auto volume = Volume::open(std::make_shared<test::FileDevice>(image_));
    ASSERT_FALSE(volume) << feature;
    EXPECT_EQ(volume.error().code(), ErrorCode::kUnsupported) << feature;
    const std::string name = std::string(feature).substr(0, std::string(feature).find(','));
    EXPECT_NE(volume.error().message().find(name), std::string::npos) << volume.error().message();
  }
}

TEST_F(VolumeTest, RefusesAJournalThatWasNotReplayed) {
  ASSERT_NE(make({.options = "-t ext4", .size = "32M"}), nullptr);
  std::vector<std::byte> bytes = test::read_bytes(image_);
  const auto superblock = std::span(bytes).subspan(layout::kSuperblockOffset, layout::kSuperblockSize);
  const auto features = load_le<std::uint32_t>(superblock, layout::super::kIncompatible);
  store_le<std::uint32_t>(superblock, layout::super::kIncompatible, features | layout::incompatible::kNeedsRecovery);
  const auto volume = Volume::open(std::make_shared<test::MemoryDevice>(std::move(bytes)));
  EXPECT_EQ(volume.error().code(), ErrorCode::kUnsupported);
  EXPECT_NE(volume.error().message().find("journal was not replayed"), std::string::npos) << volume.error().message();
}

TEST_F(VolumeTest, RefusesADeviceThatIsTooSmallOrHoldsSomethingElse) {
  const auto open = [](std::vector<std::byte> bytes) {
    return Volume::open(std::make_shared<test::MemoryDevice>(std::move(bytes)));
  };
  EXPECT_EQ(open({}).error().code(), ErrorCode::kCorruption);
  EXPECT_EQ(open(std::vector<std::byte>(65536)).error().code(), ErrorCode::kCorruption);
  const auto volume = make({.options = test::kOwnOptions, .size = "16M"});
  ASSERT_NE(volume, nullptr);
  std::vector<std::byte> bytes = test::read_bytes(image_);
  bytes.resize(bytes.size() - 4096);
  EXPECT_EQ(open(bytes).error().code(), ErrorCode::kCorruption);
}

}  // namespace
}  // namespace dadi::fs
