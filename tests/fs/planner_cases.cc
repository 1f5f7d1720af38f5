// What the planned writer makes of particular layers: structure that the random images do not reach.
#include "tests/fs/planned_image.h"
#include "tests/fs/tar_builder.h"

namespace dadi::fs {
namespace {

// Plans the layers and expects the result to be sound by every judge. The image and its model stay for more.
class Planned {
 public:
  explicit Planned(Bytes size = {std::uint64_t{1} << 30}) : image(size) {}

  void add(const TarBuilder& tar, bool with_e2fsck = true) {
    const auto bytes = tar.finish();
    PieceSource source(bytes);
    auto archive = LayerArchive::open(source);
    ASSERT_TRUE(archive);
    const auto modelled = model.apply(**archive);
    ASSERT_TRUE(modelled) << modelled.error().message();
    const auto planned = image.add(bytes);
    ASSERT_TRUE(planned) << planned.error().message();
    ASSERT_EQ(fault_of(image, model, with_e2fsck), "");
  }
  // How many blocks of the file system the layer has data of.
  std::uint64_t blocks_of_top_layer() const { return in_top_layer(false); }
  // How many it says are zeros.
  std::uint64_t zeroes_of_top_layer() const { return in_top_layer(true); }
  // How many blocks of the device have data in any layer that is not hidden.
  std::uint64_t blocks_of_device() const {
    const auto device = image.device();
    std::uint64_t sectors = 0;
    for (Sectors at; at < (*device)->size();) {
      const auto extent = (*device)->next_extent(at);
      if (extent->kind == Extent::Kind::kData) sectors += extent->length.value;
      at += extent->length;
    }
    return sectors / kSectorsPerBlock;
  }

  PlannedImage image;
  TreeModel model;

 private:
  std::uint64_t in_top_layer(bool zeroed) const {
    const auto layer = lsmt::LayerReader::open(image.blobs().back());
    std::uint64_t sectors = 0;
    for (const auto& segment : layer->segments())
      if (segment.zeroed == zeroed) sectors += segment.length.value;
    return sectors / kSectorsPerBlock;
  }
};

std::string numbered(const char* prefix, int i) {
  return prefix + std::to_string(i);
}

TEST(LayerPlanner, AnEmptyFileSystemOf64GiBTakes24Blocks) {
  Planned planned({std::uint64_t{64} << 30});
  planned.add(TarBuilder());
  EXPECT_EQ(planned.blocks_of_top_layer(), 24u);
}

TEST(LayerPlanner, AnEmptyLayerChangesNothing) {
  Planned planned;
  planned.add(TarBuilder().file("a", "content"));
  planned.add(TarBuilder());
  EXPECT_EQ(planned.blocks_of_top_layer(), 0u);
}

// Two files and four directories, far from each other, all with new times: replaced by others of the same size, by
// larger ones, or added.
TEST(LayerPlanner, ASmallChangeDirtiesAtMost14BlocksAtAnyVirtualSize) {
  TarBuilder base;
  for (int d = 0; d < 40; ++d) {
    base.directory(numbered("d", d));
    for (int f = 0; f < 60; ++f) base.file(numbered("d", d) + numbered("/f", f), std::string(3000, 'x'));
  }
  const auto change = [](const char* first, const char* second, std::size_t size) {
    TarBuilder tar;
    tar.mtime(7).directory("d3").mtime(7).file(first, std::string(size, 'y')).mtime(7).directory("d9");
    tar.mtime(7).directory("d20").mtime(7).directory("d39").mtime(7).file(second, std::string(size, 'z'));
    return tar;
  };
  // e2fsck takes seconds to look at 2 TiB.
  for (const auto& [bytes, with_e2fsck] : {std::pair{Bytes{std::uint64_t{1} << 30}, true},
                                           {Bytes{std::uint64_t{64} << 30}, true},
                                           {kLargestDevice, false}}) {
    Planned planned(bytes);
    planned.add(base, with_e2fsck);
    planned.add(change("d3/f7", "d39/f50", 3000), with_e2fsck);
    EXPECT_LE(planned.blocks_of_top_layer(), 14u) << bytes.value;
    planned.add(change("d3/f17", "d39/f30", 5000), with_e2fsck);
    EXPECT_LE(planned.blocks_of_top_layer(), 14u) << bytes.value;
    planned.add(change("d3/new", "d39/new", 3000), with_e2fsck);
    EXPECT_LE(planned.blocks_of_top_layer(), 14u) << bytes.value;
  }
}

// What a layer deletes costs it no blocks: emptied inode tables are zeroed segments, sixteen bytes each run, and so are
// the freed blocks, from 64 KiB in a row on, so that the device does not go on holding what nobody can reach.
TEST(LayerPlanner, DeletingATreeFreesItsBlocksAndSaysThatTheyAreZeros) {
  TarBuilder base;
  base.file("keep", std::string(20000, 'k'));
  for (int d = 0; d < 20; ++d) {
    for (int f = 0; f < 100; ++f) base.file("tree/" + numbered("d", d) + numbered("/f", f), std::string(9000, 'x'));
  }
  Planned empty;
  empty.add(TarBuilder().file("keep", std::string(20000, 'k')));
  Planned planned;
  planned.add(base);
  const std::uint64_t before = planned.blocks_of_device();
  EXPECT_GT(before, 2000u * 3);
  planned.add(TarBuilder().whiteout("tree"));
  // Superblock, descriptors, two bitmaps, the root's directory, and the blocks of inodes at the tables' edges.
  EXPECT_LE(planned.blocks_of_top_layer(), 10u);
  EXPECT_GE(planned.zeroes_of_top_layer(), 2000u * 3 + 2000u / 16);
  EXPECT_LE(planned.blocks_of_device(), empty.blocks_of_device() + 4);
}

TEST(LayerPlanner, FreedBlocksThatAreUsedAgainAreNotZeroed) {
  Planned planned({std::uint64_t{16} << 20});
  planned.add(TarBuilder().file("large", std::string(9 << 20, 'x')));
  planned.add(TarBuilder().whiteout("large").file("next", std::string(12 << 20, 'y')));
  planned.add(TarBuilder().whiteout("next").file("small", std::string(1 << 20, 'z')));
}

TEST(LayerPlanner, ShortFreedRunsAreLeftAsTheyAre) {
  Planned planned;
  planned.add(TarBuilder().file("a", std::string(8192, 'a')).file("b", std::string(8192, 'b')));
  planned.add(TarBuilder().whiteout("a"));
  EXPECT_EQ(planned.zeroes_of_top_layer(), 0u);
}

// Tens of thousands of markers over tens of thousands of names: each of them looked at each time would take minutes.
TEST(LayerPlanner, MarkersThatSayTheSameAgainCostNothing) {
  constexpr int kMany = 20000;
  TarBuilder lower;
  for (int i = 0; i < kMany; ++i) lower.file(numbered("d/lower-", i));
  TarBuilder upper;
  for (int i = 0; i < kMany; ++i) upper.file(numbered("d/upper-", i));
  for (int i = 0; i < kMany; ++i) upper.opaque("d").whiteout("d");
  Planned planned;
  planned.add(lower);
  planned.add(upper);
}

// Forty symlinks, each to a path of 1600 steps through the next: followed, they would be sixty thousand.
TEST(LayerPlanner, SymlinksThatMultiplyTheirStepsAreRefused) {
  std::string steps;
  for (int i = 0; i < 800; ++i) steps += "d/../";
  TarBuilder tar;
  tar.directory("d");
  for (int i = 0; i < 38; ++i) tar.symlink(numbered("l", i), steps + numbered("l", i + 1));
  tar.symlink("l38", "d").file("l0/x");
  PlannedImage image;
  const auto result = image.add(tar.finish());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().message(), "entry \"l0/x\": its path leads through more than 4096 names");
}

TEST(LayerPlanner, ALayerThatDeclaresTheSameAgainWritesItsFilesOnly) {
  Planned planned;
  planned.add(TarBuilder().mtime(5).directory("d").mtime(5).directory("d/e"));
  planned.add(TarBuilder().mtime(5).directory("d").mtime(5).directory("d/e"));
  EXPECT_EQ(planned.blocks_of_top_layer(), 0u);
}

TEST(LayerPlanner, LargeDirectoriesAreTreesOfTwoLevels) {
  TarBuilder first;
  for (int i = 0; i < 60000; ++i) first.file(numbered("d/a-name-that-is-of-some-length-so-that-the-tree-grows-", i));
  TarBuilder second;
  for (int i = 0; i < 3000; ++i) second.file(numbered("d/another-", i));
  for (int i = 0; i < 60000; i += 7)
    second.whiteout(numbered("d/a-name-that-is-of-some-length-so-that-the-tree-grows-", i));
  Planned planned({std::uint64_t{4} << 30});
  planned.add(first);
  planned.add(second);
}

TEST(LayerPlanner, DirectoriesGrowFromABlockToATreeOverManyLayers) {
  Planned planned;
  for (int layer = 0; layer < 12; ++layer) {
    TarBuilder tar;
    for (int i = 0; i < 150; ++i) tar.file("d/" + numbered("layer", layer) + numbered("-file-", i));
    planned.add(tar);
  }
}

TEST(LayerPlanner, FilesInManyPiecesHaveExtentTrees) {
  constexpr std::uint64_t kSize = std::uint64_t{48} << 20;
  TarBuilder small;
  for (int i = 0; i < 2400; ++i) small.file(numbered("s", i), std::string(16384, 'x'));
  TarBuilder holes;
  for (int i = 0; i < 2400; i += 2) holes.whiteout(numbered("s", i));
  Planned planned({kSize});
  planned.add(small);
  planned.add(holes);
  planned.add(TarBuilder().file("large", std::string(20 << 20, 'y')));
  auto volume = planned.image.volume();
  const auto large = (*volume)->resolve("/large", true);
  ASSERT_TRUE(large);
  EXPECT_GT((*volume)->extents(*large)->size(), 340u);
  planned.add(TarBuilder().whiteout("large"));
  planned.add(TarBuilder().file("again", std::string(20 << 20, 'z')));
}

TEST(LayerPlanner, BlocksOfAReplacedEntryOfTheSameLayerAreNotInTheLayer) {
  Planned planned;
  planned.add(TarBuilder().file("f", std::string(1 << 20, 'a')).file("f", std::string(4096, 'b')));
  EXPECT_LT(planned.blocks_of_top_layer(), 40u);
}

TEST(LayerPlanner, ExhaustedBlocksNameTheEntryThatCrossed) {
  PlannedImage image({std::uint64_t{8} << 20});
  const auto result = image.add(TarBuilder()
                                    .file("fits", std::string(1 << 20, 'x'))
                                    .file("crosses", std::string(9 << 20, 'x'))
                                    .file("after")
                                    .finish());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kExhausted);
  EXPECT_NE(result.error().message().find("entry \"crosses\""), std::string::npos) << result.error().message();
}

TEST(LayerPlanner, ExhaustedInodesNameTheEntryThatCrossed) {
  PlannedImage image({std::uint64_t{4} << 20});
  TarBuilder tar;
  for (int i = 0; i < 1000; ++i) tar.file(numbered("f", i));
  const auto result = image.add(tar.finish());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kExhausted);
  EXPECT_NE(result.error().message().find("entry \"f"), std::string::npos) << result.error().message();
}

TEST(LayerPlanner, AttributesThatExt4CannotHoldAreRefused) {
  PlannedImage image;
  const auto result =
      image.add(TarBuilder().pax({{"SCHILY.xattr.user.big", std::string(5000, 'v')}}).file("f").finish());
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), ErrorCode::kUnsupported);
  EXPECT_NE(result.error().message().find("entry \"f\""), std::string::npos);
}

TEST(LayerPlanner, AttributesThatFillInodeAndBlockAreKept) {
  Planned planned;
  planned.add(TarBuilder()
                  .pax({{"SCHILY.xattr.user.big", std::string(4000, 'v')}, {"SCHILY.xattr.user.small", "s"}})
                  .file("f"));
  planned.add(TarBuilder().pax({{"SCHILY.xattr.user.n", std::string(500, 'w')}}).file("f").hardlink("g", "f"));
}

TEST(LayerPlanner, WhatAufsKeepsForItselfIsLeftOut) {
  Planned planned;
  planned.add(TarBuilder()
                  .file("d/f")
                  .directory(".wh..wh.plnk")
                  .file(".wh..wh.plnk/1.2")
                  .file("d/.wh..wh.aufs")
                  .file("d/.wh..wh..opq/x")
                  .file("no/.wh..wh.aufs"));
}

TEST(LayerPlanner, ANameOf255BytesIsHiddenByALongerOne) {
  Planned planned;
  planned.add(TarBuilder().file("d/" + std::string(255, 'n')).directory("d/" + std::string(255, 'm')));
  planned.add(TarBuilder().whiteout("d/" + std::string(255, 'n')).gnu_names().whiteout("d/" + std::string(255, 'm')));
  EXPECT_TRUE(planned.model.find("d")->children.empty());
}

TEST(LayerPlanner, LostAndFoundIsAnImplicitParentLikeOthers) {
  Planned planned;
  planned.add(TarBuilder().file("x"));
  planned.add(TarBuilder().file("lost+found/x"));
  planned.add(TarBuilder().mode(0700).mtime(1).directory("lost+found").whiteout("lost+found/x"));
  planned.add(TarBuilder().file("lost+found/y"));
  EXPECT_EQ(planned.model.find("lost+found")->attributes.permissions, 0700);
  planned.add(TarBuilder().opaque(""));
  planned.add(TarBuilder().file("lost+found", "a file"));
}

TEST(LayerPlanner, TimesFrom1901To2446AreKept) {
  Planned planned;
  TarBuilder tar;
  int i = 0;
  for (const char* time :
       {"-2147483648", "-1.5", "0.000000001", "2147483647.999999999", "2147483648", "4294967296.25", "15032385535"})
    tar.pax({{"mtime", time}}).file(numbered("t", i++));
  planned.add(tar);
}

TEST(LayerPlanner, DirectoriesOfMoreLinksThanCanBeCounted) {
  TarBuilder tar;
  for (int i = 0; i < 65500; ++i) tar.directory(numbered("d/", i));
  TarBuilder fewer;
  for (int i = 0; i < 1000; ++i) fewer.whiteout(numbered("d/", i));
  Planned planned({std::uint64_t{4} << 30});
  planned.add(tar);
  planned.add(fewer);
}

}  // namespace
}  // namespace dadi::fs
