// What the planned writer makes of particular layers: structure that the random images do not reach.
#include "tests/fs/planned_image.h"
#include "tests/fs/tar_builder.h"

namespace dadi::fs {
namespace {

// Plans the layers and expects the result to be sound by every judge. The image and its model stay for more.
class Planned {
 public:
  explicit Planned(Bytes size = {std::uint64_t{1} << 30}) : image(size) {}

  void add(const TarBuilder& tar) {
    const auto bytes = tar.finish();
    PieceSource source(bytes);
    auto archive = LayerArchive::open(source);
    ASSERT_TRUE(archive);
    const auto modelled = model.apply(**archive);
    ASSERT_TRUE(modelled) << modelled.error().message();
    const auto planned = image.add(bytes);
    ASSERT_TRUE(planned) << planned.error().message();
    ASSERT_EQ(fault_of(image, model, true), "");
  }
  // The layer's size in blocks of the file system.
  std::uint64_t blocks_of_top_layer() const {
    auto layer = lsmt::LayerReader::open(image.blobs().back());
    std::uint64_t sectors = 0;
    for (const auto& segment : layer->segments())
      if (!segment.zeroed) sectors += segment.length.value;
    return sectors / kSectorsPerBlock;
  }

  PlannedImage image;
  TreeModel model;
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

TEST(LayerPlanner, ASmallChangeDirtiesAtMost14Blocks) {
  TarBuilder base;
  for (int d = 0; d < 40; ++d) {
    base.directory(numbered("d", d));
    for (int f = 0; f < 60; ++f) base.file(numbered("d", d) + numbered("/f", f), std::string(3000, 'x'));
  }
  for (const std::uint64_t gib : {1, 64, 1000}) {
    Planned planned({gib << 30});
    planned.add(base);
    planned.add(TarBuilder()
                    .directory("d3")
                    .file("d3/f7", std::string(3000, 'y'))
                    .directory("d9")
                    .directory("d20")
                    .directory("d39")
                    .file("d39/f50", std::string(3000, 'z')));
    EXPECT_LE(planned.blocks_of_top_layer(), 14u) << gib;
  }
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
