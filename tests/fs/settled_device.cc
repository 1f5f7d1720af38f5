// File systems of many kinds, without their journals, and without files that have no name.
#include "libfs/writer/settled_device.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "libfs/check/check.h"
#include "libfs/ext4/layout.h"
#include "tests/fs/check_damage.h"
#include "tests/fs/planned_image.h"
#include "tests/fs/tar_builder.h"

namespace dadi::fs::test {
namespace {

namespace stdfs = std::filesystem;

std::vector<std::byte> all_of(const BlockReader& device) {
  std::vector<std::byte> bytes(to_bytes(device.size()).value);
  EXPECT_TRUE(device.read_at({}, bytes, {}));
  return bytes;
}

std::string number_of(const std::string& name, const stdfs::path& image) {
  return run("dumpe2fs -h " + image.string() + " 2>/dev/null | sed -n 's/^" + name + ": *//p'").output;
}

class SettledTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!have_e2fsprogs()) GTEST_SKIP() << "needs e2fsprogs";
    stdfs::create_directory(source_);
    fill_small_source_folder(source_);
  }

  void make(const std::string& options) { make_image({.options = options, .size = "48M"}, source_, image_); }

  // Leaves what it is without a journal in the file `without_`.
  std::shared_ptr<const SettledDevice> remove() {
    const auto device = std::make_shared<FileDevice>(image_);
    EXPECT_TRUE(has_journal(*device, {}).value());
    auto without = SettledDevice::without_journal(device);
    EXPECT_TRUE(without) << without.error().message();
    if (!without || !*without) return nullptr;
    EXPECT_FALSE(has_journal(**without, {}).value());
    write_bytes(without_, all_of(**without));
    return std::move(*without);
  }

  void expect_sound() {
    const auto report = check_filesystem(std::make_shared<FileDevice>(without_));
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_TRUE(report->sound()) << findings_of(*report);
    EXPECT_TRUE(report->notes.empty()) << report->notes[0].text;
    const Verdict verdict = e2fsck(without_);
    EXPECT_TRUE(verdict.is_clean) << verdict.output;
  }

  ScratchFolder scratch_;
  stdfs::path source_ = scratch_.path() / "source";
  stdfs::path image_ = scratch_.path() / "image";
  stdfs::path without_ = scratch_.path() / "without";
};

TEST_F(SettledTest, IsSoundAndHasTheRoomThatTune2fsFindsAtManyParameters) {
  const char* const kOptions[] = {
      "-t ext4 -b 4096 -J size=4 -O sparse_super2,^resize_inode -E num_backup_sb=0",
      "-t ext4 -b 4096",
      "-t ext4 -b 1024",
      "-t ext4 -b 2048 -I 128",
      "-t ext4 -b 1024 -O ^metadata_csum,uninit_bg",
      "-t ext4 -b 1024 -O metadata_csum_seed,orphan_file",
      "-t ext4 -b 4096 -O fast_commit",
      "-t ext3 -b 1024",
  };
  for (const char* options : kOptions) {
    SCOPED_TRACE(options);
    ASSERT_NO_FATAL_FAILURE(make(options));
    ASSERT_TRUE(remove());
    expect_sound();
    ASSERT_EQ(run("tune2fs -O ^has_journal,^orphan_file,^fast_commit " + image_.string()).status, 0);
    for (const char* name : {"Free blocks", "Free inodes", "Filesystem features"})
      EXPECT_EQ(number_of(name, without_), number_of(name, image_)) << name;
  }
}

TEST_F(SettledTest, AClusterThatTheJournalHasIsFreedOnce) {
  ASSERT_NO_FATAL_FAILURE(make("-t ext4 -b 4096 -O bigalloc -C 16384"));
  ASSERT_TRUE(remove());
  const Verdict verdict = e2fsck(without_);
  EXPECT_TRUE(verdict.is_clean) << verdict.output;
}

TEST_F(SettledTest, AnImageThatGotAJournalIsAsItWasButForTheTimeOfThat) {
  PlannedImage planned({std::uint64_t{48} << 20});
  ASSERT_TRUE(planned.add(TarBuilder().file("file", std::string(100'000, 'x')).finish()));
  const auto before = all_of(*planned.device().value());
  write_bytes(image_, before);
  ASSERT_EQ(run("tune2fs -J size=4 " + image_.string()).status, 0);
  const auto without = remove();
  ASSERT_TRUE(without);
  expect_sound();
  const auto after = read_bytes(without_);
  ASSERT_EQ(after.size(), before.size());
  std::vector<std::size_t> differ;
  for (std::size_t at = 0; at < after.size(); ++at) {
    if (before[at] != after[at]) differ.push_back(at);
  }
  const auto is_expected = [](std::size_t at) {
    at -= layout::kSuperblockOffset;
    return (at >= 0x30 && at < 0x34) || (at >= layout::super::kChecksum && at < layout::super::kChecksum + 4);
  };
  EXPECT_TRUE(std::ranges::all_of(differ, is_expected)) << fmt::format("{}", fmt::join(differ, " "));
}

TEST_F(SettledTest, ReadsAndExtentsInPiecesAreThoseOfTheWhole) {
  ASSERT_NO_FATAL_FAILURE(make("-t ext4 -b 1024"));
  const auto device = all_of(FileDevice(image_));
  const auto without = remove();
  ASSERT_TRUE(without);
  const auto whole = all_of(*without);
  const lsmt::SectorSet changed = without->changed();
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    const Sectors at{random() % without->size().value};
    const Sectors length{std::min<std::uint64_t>(1 + random() % 70, without->size().value - at.value)};
    std::vector<std::byte> piece(to_bytes(length).value);
    ASSERT_TRUE(without->read_at(at, piece, {}));
    ASSERT_TRUE(std::ranges::equal(piece, std::span(whole).subspan(to_bytes(at).value, piece.size()))) << at.value;
  }
  for (Sectors at; at < without->size();) {
    const Extent extent = without->next_extent(at).value();
    ASSERT_GT(extent.length, Sectors{});
    const auto bytes = std::span(whole).subspan(to_bytes(at).value, to_bytes(extent.length).value);
    const bool zero = std::ranges::all_of(bytes, [](std::byte byte) { return byte == std::byte{0}; });
    ASSERT_TRUE(zero || extent.kind == Extent::Kind::kData) << at.value;
    at += extent.length;
    ASSERT_LE(at, without->size());
  }
  for (std::uint64_t sector = 0; sector < without->size().value; ++sector) {
    bool listed = false;
    changed.for_each_in({{sector}, {sector + 1}}, [&](lsmt::SectorRange) { listed = true; });
    const auto at = static_cast<std::ptrdiff_t>(sector * kSectorSize);
    ASSERT_TRUE(listed || std::equal(device.begin() + at, device.begin() + at + kSectorSize, whole.begin() + at));
  }
}

TEST_F(SettledTest, FilesThatWaitForTheirDeletionAreGone) {
  ASSERT_NO_FATAL_FAILURE(make("-t ext4 -b 4096 -J size=4"));
  const std::string free_before = number_of("Free blocks", image_);
  ASSERT_EQ(run("head -c 3000000 /dev/urandom >" + (scratch_.path() / "data").string()).status, 0);
  const stdfs::path script = scratch_.path() / "script";
  // The first of the list leads to the second by its time of deletion, which is the end.
  run("printf 'write data one\\nwrite data two\\n' >" + script.string());
  ASSERT_EQ(run("cd " + scratch_.path().string() + " && debugfs -w -f script image").status, 0);
  const std::string found = run("cd " + scratch_.path().string() +
                                " && for n in one two; do debugfs -R \"stat $n\" image 2>/dev/null | sed -n "
                                "'s/^Inode: *\\([0-9]*\\).*/\\1/p'; done | xargs")
                                .output;
  const std::string one = found.substr(0, found.find(' '));
  std::string two = found.substr(found.find(' ') + 1);
  std::erase(two, '\n');
  std::string commands = "unlink one\nunlink two\nset_super_value last_orphan " + one;
  for (const std::string& name : {one, two}) commands += "\nset_inode_field <" + name + "> links_count 0";
  commands += "\nset_inode_field <" + one + "> dtime @" + two + "\n";
  write_bytes(script, std::as_bytes(std::span(commands)));
  ASSERT_EQ(run("cd " + scratch_.path().string() + " && debugfs -w -f script image").status, 0);
  ASSERT_TRUE(remove());
  expect_sound();
  EXPECT_EQ(std::stoull(number_of("Free blocks", without_)), std::stoull(free_before) + 1024);
}

TEST_F(SettledTest, OfOneWithoutAJournalFilesWithoutANameAreGone) {
  PlannedImage planned({std::uint64_t{48} << 20});
  ASSERT_TRUE(planned.add(TarBuilder()
                              .file("kept", std::string(100'000, 'x'))
                              .file("gone", std::string(3'000'000, 'y'))
                              .file("gone-too", "z")
                              .finish()));
  write_bytes(image_, all_of(*planned.device().value()));
  const auto device = std::make_shared<FileDevice>(image_);
  lsmt::SectorSet everywhere;
  everywhere.insert({{}, device->size()});
  EXPECT_EQ(SettledDevice::without_nameless(device, everywhere).value(), nullptr);  // all have names
  const std::string free_before = number_of("Free blocks", image_);
  const stdfs::path script = scratch_.path() / "script";
  const std::string commands =
      "set_inode_field gone links_count 0\nset_inode_field gone-too links_count 0\nunlink gone\nunlink gone-too\n";
  write_bytes(script, std::as_bytes(std::span(commands)));
  ASSERT_EQ(run("debugfs -w -f " + script.string() + " " + image_.string()).status, 0);
  const auto damaged = check_filesystem(std::make_shared<FileDevice>(image_));
  ASSERT_TRUE(damaged);
  EXPECT_FALSE(damaged->sound());
  EXPECT_EQ(SettledDevice::without_nameless(device, {}).value(), nullptr);  // nothing was written
  const auto without = SettledDevice::without_nameless(device, everywhere);
  ASSERT_TRUE(without) << without.error().message();
  ASSERT_NE(*without, nullptr);
  write_bytes(without_, all_of(**without));
  expect_sound();
  EXPECT_GE(std::stoull(number_of("Free blocks", without_)), std::stoull(free_before) + 3'000'000 / 4096);
  EXPECT_EQ(run("debugfs -R 'cat kept' " + without_.string() + " 2>/dev/null | wc -c").output, "100000\n");
}

TEST_F(SettledTest, AListOfDeletedFilesThatLeadsNowhereIsCorruption) {
  ASSERT_NO_FATAL_FAILURE(make("-t ext4 -b 4096"));
  ASSERT_EQ(run("debugfs -w -R 'set_super_value last_orphan 3' " + image_.string()).status, 0);
  const auto without = SettledDevice::without_journal(std::make_shared<FileDevice>(image_));
  ASSERT_FALSE(without);
  EXPECT_EQ(without.error().code(), ErrorCode::kCorruption);
  EXPECT_NE(without.error().message().find("leads to 3"), std::string::npos) << without.error().message();
}

}  // namespace
}  // namespace dadi::fs::test
