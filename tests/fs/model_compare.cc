// first_difference: volumes that the planned writer made of the same layers, and of slightly different ones.
#include <gtest/gtest.h>

#include "libfs/model/compare.h"
#include "tests/fs/archive_reading.h"
#include "tests/fs/planned_image.h"
#include "tests/fs/tar_builder.h"

namespace dadi::fs {
namespace {

using Layers = std::vector<TarBuilder>;

template <typename Target>
Result<void> apply(Target& target, const Layers& layers) {
  for (const TarBuilder& layer : layers) {
    PieceSource source(layer.finish());
    DADI_TRY(const auto archive, LayerArchive::open(source));
    DADI_CHECK(target.apply(*archive));
  }
  return {};
}

// The difference of a volume of `written` from a model of `modelled`; "" if there is none.
std::string difference(const Layers& written, const Layers& modelled, const CompareProgress& progress = {}) {
  const auto compared = [&]() -> Result<std::optional<std::string>> {
    TreeModel model;
    DADI_CHECK(apply(model, modelled).context("model"));
    PlannedImage image(Bytes{64 << 20});
    for (const TarBuilder& layer : written) DADI_CHECK(image.add(layer.finish()).context("writer"));
    DADI_TRY(const auto volume, image.volume());
    return first_difference(model, *volume, progress);
  }();
  if (!compared) return "error: " + compared.error().message();
  return compared->value_or("");
}

// One of everything, in two layers.
Layers rich() {
  TarBuilder lower;
  lower.mode(0700).owner(3, 4).mtime(5).directory("./").mode(01777).directory("tmp").mode(04755).file("bin/su", "su");
  lower.pax({{"mtime", "-1.25"}, {"SCHILY.xattr.user.a", "1"}}).owner(3'000'000'000, 70'000).file("old", "old");
  lower.file("gone").file("d/gone").file("d/stays").symlink("short", "d").symlink("long", std::string(3000, 't'));
  lower.device("null", 'c', 1, 3).device("disk", 'b', 259, 70'000).fifo("pipe").hardlink("su", "bin/su");
  lower.pax({{"SCHILY.acl.access", "user::rw-,user:7:r--,group::r--,mask::r--,other::---"}}).file("acl", "a");
  TarBuilder upper;
  upper.whiteout("gone").opaque("d").file("d/new", std::string(10'000, 'n')).hardlink("again", "bin/su");
  upper.pax({{"mtime", "4000000000.000000001"}}).directory("tmp").file(std::string(255, 'x'), "x");
  upper.pax({{"GNU.sparse.size", "30000000"}, {"GNU.sparse.numblocks", "2"}, {"GNU.sparse.map", "0,4,20000001,6"}})
      .file("sparse", "headmiddle");
  return {lower, upper};
}

TEST(FirstDifference, OfTheSameLayersThereIsNone) {
  Bytes read;
  EXPECT_EQ(difference(rich(), rich(), [&](Bytes so_far) { read = so_far; }), "");
  EXPECT_GT(read, Bytes{10'000});
  EXPECT_LT(read, Bytes{100'000});  // the hole was not read
  EXPECT_EQ(difference({TarBuilder()}, {TarBuilder()}), "");
}

TEST(FirstDifference, NamesThePathAndWhatDiffers) {
  const auto of = [](const TarBuilder& written, const TarBuilder& modelled) {
    return difference({written}, {modelled});
  };
  const auto x = [] { return TarBuilder(); };
  EXPECT_EQ(of(x().mode(0600).file("d/x"), x().file("d/x")), "\"/d/x\": permissions 0600, should be 0644");
  EXPECT_EQ(of(x().mode(0600).directory("."), x()), "\"/\": permissions 0600, should be 0755");
  EXPECT_EQ(of(x().owner(1, 0).file("x"), x().file("x")), "\"/x\": user id 1, should be 0");
  EXPECT_EQ(of(x().owner(0, 1).file("x"), x().file("x")), "\"/x\": group id 1, should be 0");
  EXPECT_EQ(of(x().mtime(1).file("x"), x().pax({{"mtime", "1.000000001"}}).file("x")),
            "\"/x\": mtime 1 s + 0 ns, should be 1 s + 1 ns");
  EXPECT_EQ(of(x().file("x", "12"), x().file("x", "1")), "\"/x\": size 2, should be 1");
  EXPECT_EQ(of(x().file("x", "2"), x().file("x", "1")), "\"/x\": other content");
  EXPECT_EQ(of(x().file("x", std::string(9000, '\0')), x().file("x", std::string(8999, '\0') + "1")),
            "\"/x\": other content");
  EXPECT_EQ(of(x().symlink("x", "a"), x().symlink("x", "b")), "\"/x\": symlink target \"a\", should be \"b\"");
  EXPECT_EQ(of(x().symlink("x", "a"), x().mode(0777).file("x")), "\"/x\": a symlink, should be a regular file");
  EXPECT_EQ(of(x().directory("x"), x().mode(0755).file("x")), "\"/x\": a directory, should be a regular file");
  EXPECT_EQ(of(x().fifo("x"), x().device("x", 'c', 0, 0)), "\"/x\": a fifo, should be a character device");
  EXPECT_EQ(of(x().device("x", 'c', 1, 0), x().device("x", 'c', 2, 0)), "\"/x\": major number 1, should be 2");
  EXPECT_EQ(of(x().device("x", 'c', 1, 2), x().device("x", 'c', 1, 3)), "\"/x\": minor number 2, should be 3");
  EXPECT_EQ(of(x(), x().file("d/x")), "\"/d\": missing");
  EXPECT_EQ(of(x().file("d/x"), x().directory("d")), "\"/d/x\": should not be there");
  EXPECT_EQ(of(x().file("e\nsc"), x()), "\"/e\\x0asc\": should not be there");
}

TEST(FirstDifference, SeesEveryExtendedAttribute) {
  const auto with = [](const TarBuilder::Records& records) { return Layers{TarBuilder().pax(records).file("x")}; };
  EXPECT_EQ(difference(with({}), with({{"SCHILY.xattr.user.a", "1"}})), "\"/x\": no attribute \"user.a\"");
  EXPECT_EQ(difference(with({{"SCHILY.xattr.user.a", "1"}}), with({})), "\"/x\": an attribute too many, \"user.a\"");
  EXPECT_EQ(difference(with({{"SCHILY.xattr.user.a", "1"}}), with({{"SCHILY.xattr.user.a", "2"}})),
            "\"/x\": attribute \"user.a\" has the value \"1\" (1 bytes), should be \"2\" (1 bytes)");
}

TEST(FirstDifference, SeesHardlinksBothWays) {
  const Layers linked{TarBuilder().file("a", "1").hardlink("b", "a").file("c", "1").hardlink("d", "c")};
  const Layers crossed{TarBuilder().file("a", "1").hardlink("c", "a").file("b", "1").hardlink("d", "b")};
  const Layers apart{TarBuilder().file("a", "1").file("b", "1").file("c", "1").file("d", "1")};
  EXPECT_EQ(difference(linked, linked), "");
  EXPECT_EQ(difference(apart, linked), "\"/a\": link count 1, should be 2");
  EXPECT_EQ(difference(linked, apart), "\"/a\": link count 2, should be 1");
  EXPECT_EQ(difference(crossed, linked), "\"/b\": not a hardlink of the file that it should be");
}

TEST(FirstDifference, ComparesDirectoriesInTheOrderOfTheirNames) {
  EXPECT_EQ(difference({TarBuilder().file("a/x").file("b/x").file("c/x")},
                       {TarBuilder().file("a/x").file("b/y").file("c/y")}),
            "\"/b/y\": missing");
}

TEST(FirstDifference, ALostAndFoundOfTheImageIsCompared) {
  EXPECT_EQ(
      difference({TarBuilder().mode(0711).directory("lost+found")}, {TarBuilder().mode(0711).directory("lost+found")}),
      "");
  EXPECT_EQ(difference({TarBuilder()}, {TarBuilder().file("lost+found/x")}).substr(0, 13), "\"/lost+found\"");
}

}  // namespace
}  // namespace dadi::fs
