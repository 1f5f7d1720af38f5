// What the verifier must not complain about: whatever mke2fs, e2fsck and the kernel write, at many parameters.
#include <gtest/gtest.h>

#include <atomic>
#include <random>

#include "tests/fs/check_damage.h"

namespace dadi::fs::test {
namespace {

namespace stdfs = std::filesystem;

// Counts what is read.
class CountingDevice final : public BlockReader {
 public:
  explicit CountingDevice(const stdfs::path& path) : file_(path) {}
  Sectors size() const override { return file_.size(); }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& context) const override {
    bytes_read_ += out.size();
    return file_.read_at(at, out, context);
  }
  Result<Extent> next_extent(Sectors at) const override { return file_.next_extent(at); }
  std::uint64_t bytes_read() const { return bytes_read_; }

 private:
  FileDevice file_;
  mutable std::atomic<std::uint64_t> bytes_read_ = 0;
};

class PristineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have_e2fsprogs()) GTEST_SKIP() << "needs e2fsprogs";
    stdfs::create_directory(source_);
  }

  void expect_sound() {
    const auto report = check_filesystem(std::make_shared<FileDevice>(image_));
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_TRUE(report->sound()) << findings_of(*report);
    EXPECT_TRUE(report->notes.empty()) << report->notes[0].text;
    const Verdict reference = e2fsck(image_);
    EXPECT_TRUE(reference.is_clean) << reference.output;
  }

  ScratchFolder scratch_;
  stdfs::path source_ = scratch_.path() / "source";
  stdfs::path image_ = scratch_.path() / "image";
};

TEST_F(PristineTest, FileSystemsOfMke2fsAreSoundAtManyParameters) {
  fill_source_folder(source_);
  const char* const kOptions[] = {
      kOwnOptions,
      "-t ext4 -b 4096",
      "-t ext4 -b 1024",
      "-t ext4 -b 2048 -I 128",
      "-t ext4 -b 1024 -O orphan_file,metadata_csum_seed",
      "-t ext4 -b 4096 -O ^metadata_csum,^64bit,sparse_super2",
      "-t ext4 -b 4096 -O ^dir_index,^filetype,^resize_inode",
      "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg -E lazy_itable_init=1",
      "-t ext3 -b 1024",
      "-t ext2 -b 1024 -O ^sparse_super,^resize_inode",
  };
  for (const char* options : kOptions) {
    for (const bool index_directories : {false, true}) {
      SCOPED_TRACE(fmt::format("{}, indexed: {}", options, index_directories));
      ASSERT_NO_FATAL_FAILURE(
          make_image({.options = options, .size = "48M", .index_directories = index_directories}, source_, image_));
      expect_sound();
    }
  }
}

TEST_F(PristineTest, AnEmptyFileSystemOf64GiBIsCheckedWithoutReadingMuch) {
  ASSERT_NO_FATAL_FAILURE(make_image({.options = kOwnOptions, .size = "64G"}, source_, image_));
  const auto device = std::make_shared<CountingDevice>(image_);
  const auto report = check_filesystem(device);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_TRUE(report->sound()) << findings_of(*report);
  EXPECT_EQ(report->facts.blocks, std::uint64_t{64} << 18);
  EXPECT_LT(device->bytes_read(), std::uint64_t{1} << 20);
}

TEST_F(PristineTest, FactsCountWhatIsThere) {
  stdfs::create_directory(source_ / "directory");
  stdfs::create_symlink("directory", source_ / "symlink");
  write_bytes(source_ / "file", std::vector<std::byte>(5000));
  ASSERT_NO_FATAL_FAILURE(
      make_image({.options = kOwnOptions, .size = "16M", .debugfs = "mknod pipe p\n"}, source_, image_));
  const auto report = check_filesystem(std::make_shared<FileDevice>(image_));
  ASSERT_TRUE(report);
  EXPECT_EQ(report->facts.directories, 3U);  // the root and lost+found, too
  EXPECT_EQ(report->facts.files, 1U);
  EXPECT_EQ(report->facts.symlinks, 1U);
  EXPECT_EQ(report->facts.others, 1U);
  EXPECT_EQ(report->facts.inodes_used, 10U + 5U);  // reserved ones; those above without the root
  EXPECT_EQ(report->facts.blocks, 4096U);
  EXPECT_EQ(report->facts.block_size, Bytes{4096});
}

// Work for a mounted file system: names come and go, grow, are linked, get attributes, holes and preallocated room.
std::string work_script(const std::string& folder) {
  std::minstd_rand random(9);
  std::string script = "set -e; cd " + folder + "; mkdir a a/b many; ";
  for (int i = 0; i < 150; ++i) {
    const std::string name = fmt::format("a/{}{}", i, std::string(random() % 150, 'n'));
    script += fmt::format("head -c {} /dev/zero | tr '\\0' x > {}; ln {} a/b/{}; ", random() % 60000, name, name, i);
    if (i % 3 == 0) script += "rm " + name + "; ";
    if (i % 5 == 0) script += fmt::format("ln -s {} a/s{}; ", std::string(1 + random() % 300, 't'), i);
    if (i % 7 == 0) script += fmt::format("truncate -s {} a/b/{}; ", random() % 100000, i);
    // Not every one of these file systems can preallocate.
    if (i % 11 == 0) script += fmt::format("fallocate -o {} -l 20000 a/b/{} || true; ", random() % 200000, i);
    if (i % 13 == 0) script += fmt::format("mknod a/d{} b {} {}; mkfifo a/p{}; ", i, i, 1000 * i, i);
  }
  script += "for i in $(seq 3000); do echo $i > many/$i-a-name-that-is-rather-long-so-that-blocks-split; done; ";
  script += "for i in $(seq 1 3 3000); do rm many/$i-*; done; ";
  script += "for i in $(seq 400); do printf x | dd of=islands bs=1 seek=$((i * 9000)) conv=notrunc status=none; done";
  return script;
}

TEST_F(PristineTest, FileSystemsThatTheKernelWroteToAreSound) {
  for (const char* options : {kOwnOptions, "-t ext4 -b 1024 -N 8000", "-t ext2 -b 2048 -I 128 -N 8000"}) {
    SCOPED_TRACE(options);
    ASSERT_NO_FATAL_FAILURE(make_image({.options = options, .size = "128M"}, source_, image_));
    const stdfs::path mounted = scratch_.path() / "mounted";
    stdfs::create_directories(mounted);
    const CommandResult mount = run(fmt::format("mount -o loop {} {}", image_.string(), mounted.string()));
    if (mount.status != 0) GTEST_SKIP() << "needs to mount: " << mount.output;
    const CommandResult work = run(work_script(mounted.string()));
    EXPECT_EQ(run("umount " + mounted.string()).status, 0);
    ASSERT_EQ(work.status, 0) << work.output;
    expect_sound();
  }
}

}  // namespace
}  // namespace dadi::fs::test
