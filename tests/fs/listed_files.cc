// Lists of files, and the blocks of a file system that they stand for.
#include "libfs/ext4/listed_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "libfs/ext4/path_pattern.h"
#include "libfs/ext4/volume.h"
#include "tests/fs/ext4_fixture.h"

namespace dadi::fs {
namespace {

namespace stdfs = std::filesystem;

bool matches(std::string_view pattern, std::string_view name) {
  std::uint64_t steps = 0;
  return matches_pattern(pattern, name, steps);
}

TEST(PathPattern, StarsStandForAnyBytesAlsoNone) {
  for (const char* const name : {"", "a", ".hidden", "a*b", "\xff\n"}) EXPECT_TRUE(matches("*", name)) << name;
  EXPECT_TRUE(matches("lib*.so*", "libc.so.6"));
  EXPECT_TRUE(matches("*a*a*a", "bacada"));
  EXPECT_FALSE(matches("*a*a*a*a", "bacada"));
  EXPECT_FALSE(matches("lib*.so", "libc.so.6"));
}

TEST(PathPattern, QuestionMarksAndBracketsStandForOneByte) {
  EXPECT_TRUE(matches("?[a-c]?", "xb\n"));
  EXPECT_FALSE(matches("?", ""));
  EXPECT_FALSE(matches("?", "ab"));
  EXPECT_TRUE(matches("[!a-c]", "d") && matches("[^a-c]", "-") && !matches("[!a-c]", "b"));
  EXPECT_TRUE(matches("[]x]", "]") && matches("[!]]", "x") && !matches("[!]]", "]"));
  EXPECT_TRUE(matches("[a-]", "-") && matches("[*]", "*") && !matches("[*]", "x"));
  EXPECT_TRUE(matches("[\x80-\xff]", "\xc3"));
}

TEST(PathPattern, WhatIsNotClosedIsItself) {
  EXPECT_TRUE(matches("[", "["));
  EXPECT_TRUE(matches("[ab", "[ab"));
  EXPECT_TRUE(matches("a[!", "a[!"));
  EXPECT_FALSE(matches("[ab", "a"));
  EXPECT_TRUE(matches("a\\*", "a\\x"));
}

TEST(PathPattern, TheWorkIsBoundedByTheLengths) {
  const std::string name(255, 'a');
  std::string pattern;
  for (int i = 0; i < 60; ++i) pattern += "*a*";
  std::uint64_t steps = 0;
  EXPECT_FALSE(matches_pattern(pattern + "b", name, steps));
  EXPECT_LT(steps, 4 * pattern.size() * name.size());
}

// A folder of which an image is made.
class ListedFilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!test::have_e2fsprogs()) GTEST_SKIP() << "needs e2fsprogs";
    for (const char* const name : {"bin", "usr/lib/deep/er", "app/pages", "empty"})
      stdfs::create_directories(source_ / name);
    write("bin/sh", 5000);
    write("bin/[", 6000);
    write("usr/lib/liba.so.1", 70000);
    write("usr/lib/libb.so.2", 4096);
    write("usr/lib/deep/one", 100);
    write("usr/lib/deep/er/two", 9000);
    write("usr/lib/.hidden", 10);
    write("app/pages/[id].js", 8000);
    write("app/pages/i.js", 12000);
    write(" odd\xff\nname\r", 7000);
    write("nothing", 0);
    stdfs::create_symlink("/usr/lib", source_ / "lib");
    stdfs::create_symlink("../../../../usr/lib/liba.so.1", source_ / "usr/lib/liba.so");
    stdfs::create_symlink("loop", source_ / "loop");
    stdfs::create_symlink(std::string(100, '/') + "bin/sh", source_ / "long");
    stdfs::create_symlink("nowhere", source_ / "dangling");
    stdfs::create_symlink(".", source_ / "app/self");
  }

  void write(const std::string& name, std::size_t size) {
    std::ofstream file(source_ / name, std::ios::binary);
    file << std::string(size, static_cast<char>('a' + names_.size()));
    names_.push_back(name);
  }

  void make_image() {
    if (device_) return;
    test::make_image({.options = test::kOwnOptions, .size = "64M"}, source_, image_);
    device_ = std::make_shared<test::FileDevice>(image_);
    volume_ = *Volume::open(device_);
  }

  ListedFiles find(std::string_view list) {
    make_image();
    auto found = find_listed_files(device_, list);
    if (!found) ADD_FAILURE() << found.error().message();
    return found ? std::move(*found) : ListedFiles{};
  }

  // The files of which all content is among the places, in the order in which that begins.
  std::vector<std::string> files(const ListedFiles& found) {
    std::vector<std::pair<std::size_t, std::string>> complete;
    for (const std::string& name : names_) {
      const auto extents = *volume_->extents(test::inode_at(*volume_, name));
      std::size_t first = found.places.size();
      bool all = !extents.empty();
      for (const FileExtent& extent : extents) {
        const auto at = std::ranges::find_if(found.places, [&](const DevicePlace& place) {
          return place.at.value <= extent.physical * 4096 &&
                 place.at.value + place.size.value >= (extent.physical + extent.count) * 4096;
        });
        all = all && at != found.places.end();
        first = std::min(first, static_cast<std::size_t>(at - found.places.begin()));
      }
      if (all) complete.emplace_back(first, name);
    }
    std::ranges::sort(complete);
    std::vector<std::string> result;
    for (auto& [at, name] : complete) result.push_back(std::move(name));
    return result;
  }
  std::vector<std::string> files_of(std::string_view list) { return files(find(list)); }
  using Names = std::vector<std::string>;

  std::uint64_t first_block(std::string_view path) {
    const auto extents = *volume_->extents(test::inode_at(*volume_, path));
    return extents.front().physical;
  }

  test::ScratchFolder scratch_;
  stdfs::path source_ = scratch_.path() / "source";
  stdfs::path image_ = scratch_.path() / "image";
  std::shared_ptr<const BlockReader> device_;
  std::shared_ptr<const Volume> volume_;
  std::vector<std::string> names_;
};

TEST_F(ListedFilesTest, FilesComeInTheOrderOfTheList) {
  EXPECT_EQ(files_of("/usr/lib/libb.so.2\nbin/sh\n"), (Names{"usr/lib/libb.so.2", "bin/sh"}));
  EXPECT_EQ(files_of("bin/sh\n\n/usr//lib/./libb.so.2"), (Names{"bin/sh", "usr/lib/libb.so.2"}));
  const ListedFiles found = find("bin/sh\nbin/sh\nnothing\n");
  EXPECT_EQ(found.files, 2U);
  EXPECT_EQ(found.lines, 3U);
  EXPECT_EQ(found.missing, 0U);
}

TEST_F(ListedFilesTest, WhatIsNotThereIsTold) {
  const ListedFiles found = find("/bin/none\nbin/sh\nbin/sh/x\n/usr/*/*.none\ndangling\nloop\n../../bin/nO\n" +
                                 std::string(5000, 'x') + "\n");
  EXPECT_EQ(files(found), Names{"bin/sh"});
  EXPECT_EQ(found.lines, 8U);
  EXPECT_EQ(found.missing, 7U);
  EXPECT_EQ(found.examples[1], "bin/sh/x");
  std::string many;
  for (int i = 0; i < 1000; ++i) many += "none\n";
  EXPECT_EQ(find(many).examples.size(), 10U);
}

TEST_F(ListedFilesTest, PatternsAreNamesInOrder) {
  EXPECT_EQ(files_of("usr/lib/lib*.so.?"), (Names{"usr/lib/liba.so.1", "usr/lib/libb.so.2"}));
  EXPECT_EQ(files_of("*/lib/[!l]*"), (Names{"usr/lib/.hidden", "usr/lib/deep/er/two", "usr/lib/deep/one"}));
  EXPECT_EQ(files_of("/**/two\n"), Names{"usr/lib/deep/er/two"});
  EXPECT_EQ(files_of("**/usr/**/**/two"), Names{"usr/lib/deep/er/two"});
  EXPECT_EQ(files_of("usr/lib/deep/**"), (Names{"usr/lib/deep/er/two", "usr/lib/deep/one"}));
}

TEST_F(ListedFilesTest, ANameThatIsThereAsItIsWrittenCounts) {
  using namespace std::string_view_literals;
  EXPECT_EQ(files_of("bin/["), Names{"bin/["});
  EXPECT_EQ(files_of("app/pages/[id].js"), (Names{"app/pages/[id].js", "app/pages/i.js"}));
  EXPECT_EQ(files_of("bin/sh\0 odd\xff\nname\r\0"sv), (Names{"bin/sh", " odd\xff\nname\r"}));
  EXPECT_EQ(files_of(" odd?[\n-\r]name?"), Names{});  // a line ends at its end
  EXPECT_EQ(files_of(" odd??name?"), Names{" odd\xff\nname\r"});
}

TEST_F(ListedFilesTest, SymlinksAreFollowedInsideTheRoot) {
  EXPECT_EQ(files_of("lib/liba.so"), Names{"usr/lib/liba.so.1"});
  EXPECT_EQ(files_of("long"), Names{"bin/sh"});
  EXPECT_EQ(files_of("l*b/libb*"), Names{"usr/lib/libb.so.2"});
  EXPECT_EQ(files_of("lib/../../bin/sh"), Names{"bin/sh"});
  EXPECT_EQ(files_of("app/self/self/self/pages/i.js"), Names{"app/pages/i.js"});
  EXPECT_EQ(files_of("app/**/i.js"), Names{"app/pages/i.js"});
}

TEST_F(ListedFilesTest, ADirectoryIsAllBelowItAndNothingElse) {
  const Names deep{"usr/lib/deep/er/two", "usr/lib/deep/one"};
  EXPECT_EQ(files_of("usr/lib/deep"), deep);
  EXPECT_EQ(files_of("usr/lib/deep/"), deep);
  EXPECT_EQ(files_of("lib/deep/"), deep);
  EXPECT_EQ(files_of("app"), (Names{"app/pages/[id].js", "app/pages/i.js"}));
  EXPECT_EQ(find("empty").missing, 0U);
  EXPECT_EQ(files_of("/").size(), names_.size() - 1);  // one is empty
  EXPECT_EQ(find("/").files, names_.size());
  EXPECT_EQ(find("/\n/\n**\nusr/*\n").places.size(), find("/").places.size());
}

TEST_F(ListedFilesTest, WhatLeadsToAFileComesBeforeItOnce) {
  const ListedFiles found = find("usr/lib/deep/er/two\nusr/lib/deep/one\n");
  std::set<std::uint64_t> blocks;
  for (const DevicePlace& place : found.places)
    for (std::uint64_t at = place.at.value; at < place.at.value + place.size.value; at += 4096)
      blocks.insert(at / 4096);
  EXPECT_TRUE(blocks.contains(0));  // the superblock
  for (const char* const path : {"", "usr", "usr/lib", "usr/lib/deep", "usr/lib/deep/er"})
    EXPECT_TRUE(blocks.contains(first_block(path))) << path;
  EXPECT_FALSE(blocks.contains(first_block("app")));
  EXPECT_LT(found.places.size(), 40U);
}

TEST_F(ListedFilesTest, OnlyContentIsTakenOfAFile) {
  std::ofstream(source_ / "holes", std::ios::binary).seekp(1 << 20) << "x";
  make_image();
  const ListedFiles found = find("holes");
  std::uint64_t sum = 0;
  for (const DevicePlace& place : found.places) sum += place.size.value;
  EXPECT_LT(sum, 100'000U);
}

TEST_F(ListedFilesTest, AListThatAsksForTooMuchIsRefused) {
  for (int i = 0; i < 2000; ++i) std::ofstream(source_ / "empty" / (std::string(200, 'a') + std::to_string(i)));
  make_image();
  std::string list;
  for (int i = 0; i < 20000; ++i) list += "empty/*a*a*a*a*a*a*a*a*a*a*b" + std::to_string(i) + "\n";
  const auto found = find_listed_files(device_, list);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code(), ErrorCode::kExhausted);
}

}  // namespace
}  // namespace dadi::fs
