// The table "OCI semantics" of ext4.md, row by row, and what follows from it.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "libfs/model/content_digest.h"
#include "libfs/model/tree_model.h"
#include "tests/fs/archive_reading.h"
#include "tests/fs/tar_builder.h"

namespace dadi::fs {
namespace {

Result<void> apply(TreeModel& model, const TarBuilder& layer) {
  PieceSource source(layer.finish());
  DADI_TRY(const auto archive, LayerArchive::open(source));
  return model.apply(*archive);
}

void apply_well(TreeModel& model, const TarBuilder& layer) {
  const auto applied = apply(model, layer);
  ASSERT_TRUE(applied.has_value()) << applied.error().message();
}

std::unique_ptr<TreeModel> model_of(const std::vector<TarBuilder>& layers) {
  auto model = std::make_unique<TreeModel>();
  for (const TarBuilder& layer : layers) apply_well(*model, layer);
  return model;
}

// What the last of the layers is refused with.
Error refusal(const std::vector<TarBuilder>& layers) {
  TreeModel model;
  for (std::size_t i = 0; i + 1 < layers.size(); ++i) apply_well(model, layers[i]);
  const auto applied = apply(model, layers.back());
  EXPECT_FALSE(applied.has_value());
  return applied ? Error::internal("it was applied") : applied.error();
}

void list(const TreeNode& node, const std::string& path, bool with_attributes, std::string& text) {
  for (const auto& [name, child] : node.children) {
    const Attributes& attributes = child.node->attributes;
    text += (text.empty() ? "" : " ") + path + name;
    if (attributes.type == FileType::kDirectory) text += '/';
    if (attributes.type == FileType::kSymlink) text += "->" + child.node->symlink;
    if (with_attributes) {
      text += '[' + std::to_string(attributes.permissions) + ',' + std::to_string(attributes.uid) + ',' +
              std::to_string(attributes.mtime.seconds);
      for (const auto& [key, value] : attributes.xattrs) text += ',' + key + '=' + value;
      if (child.node->content) text += ',' + child.node->content->brief() + ',' + std::to_string(child.node->links);
      text += ']';
    }
    list(*child.node, path + name + '/', with_attributes, text);
  }
}

// "d/ d/x link->d": all names, in order.
std::string names(const TreeModel& model) {
  std::string text;
  list(model.root(), "", false, text);
  return text;
}
std::string names(const std::vector<TarBuilder>& layers) {
  return names(*model_of(layers));
}

std::string everything(const TreeModel& model) {
  std::string text;
  list(model.root(), "", true, text);
  return text;
}

bool has_content(const TreeModel& model, std::string_view path, std::string_view content) {
  const TreeNode* node = model.find(path);
  if (node == nullptr || !node->content) return false;
  ContentDigest digest;
  digest.add({0}, as_bytes(content));
  return node->size == Bytes{content.size()} && *node->content == digest.finish();
}

// Applies the entries of one layer, after `lower`, in every order: the result must always be the same.
std::string in_any_order(const TarBuilder& lower, const std::vector<std::function<void(TarBuilder&)>>& entries) {
  std::vector<std::size_t> order(entries.size());
  std::iota(order.begin(), order.end(), 0);
  std::string first;
  do {
    TarBuilder layer;
    for (const std::size_t i : order) entries[i](layer);
    const std::string text = everything(*model_of({lower, layer}));
    if (first.empty()) first = text;
    EXPECT_EQ(text, first);
  } while (std::next_permutation(order.begin(), order.end()));
  return first;
}

// --- the root, names, parents

TEST(TreeModel, StartsWithARootOf1970) {
  const TreeModel model;
  EXPECT_TRUE(model.root().is_directory());
  EXPECT_EQ(model.root().attributes.permissions, 0755);
  EXPECT_EQ(model.root().attributes.mtime, Timestamp{});
  EXPECT_TRUE(model.root().children.empty());
}

TEST(TreeModel, TheEntryDotSlashSpeaksOfTheRoot) {
  for (const char* path : {"./", ".", "/", "a/..", "../.."}) {
    const auto model = model_of({TarBuilder().mode(0700).owner(1, 2).mtime(3).directory(path)});
    EXPECT_EQ(model->root().attributes.permissions, 0700) << path;
    EXPECT_EQ(model->root().attributes.uid, 1U);
    EXPECT_EQ(model->root().attributes.mtime, (Timestamp{3, 0}));
    EXPECT_EQ(names(*model), "");
  }
  EXPECT_EQ(refusal({TarBuilder().file(".", "x")}).message(), "entry \".\": the root, but not as a directory");
  EXPECT_EQ(refusal({TarBuilder().file("x").hardlink("/", "x")}).code(), ErrorCode::kCorruption);
}

TEST(TreeModel, PathsStayInsideTheRoot) {
  EXPECT_EQ(names({TarBuilder()
                       .file("/absolute")
                       .file("./dot")
                       .file("../../up")
                       .file("d/../down")
                       .file("a//b/.//c")
                       .file("../a/../../etc/x")}),
            "a/ a/b/ a/b/c absolute dot down etc/ etc/x up");
}

TEST(TreeModel, MissingParentsAreMadeOf1970) {
  const auto model = model_of({TarBuilder().mtime(7).owner(1, 1).file("a/b/c")});
  for (const char* path : {"a", "a/b"}) {
    EXPECT_EQ(model->find(path)->attributes.permissions, 0755);
    EXPECT_EQ(model->find(path)->attributes.uid, 0U);
    EXPECT_EQ(model->find(path)->attributes.mtime, Timestamp{});
  }
}

TEST(TreeModel, ALaterEntryForAnImplicitParentGivesItsAttributes) {
  const auto model = model_of({TarBuilder().file("a/b").mode(0711).mtime(9).directory("a")});
  EXPECT_EQ(names(*model), "a/ a/b");
  EXPECT_EQ(model->find("a")->attributes.permissions, 0711);
  EXPECT_EQ(model->find("a")->attributes.mtime, (Timestamp{9, 0}));
}

TEST(TreeModel, DirectoryTimesAreWhatTheTarLastSaid) {
  const auto model = model_of({TarBuilder().mtime(5).directory("d").mtime(6).file("d/x"), TarBuilder().file("d/y")});
  EXPECT_EQ(model->find("d")->attributes.mtime, (Timestamp{5, 0}));
}

TEST(TreeModel, AParentThatIsAFileIsAnError) {
  EXPECT_EQ(refusal({TarBuilder().file("f").file("f/x")}).message(),
            "entry \"f/x\": its parent \"f\" is not a directory");
  EXPECT_EQ(refusal({TarBuilder().file("f"), TarBuilder().opaque("f")}).code(), ErrorCode::kCorruption);
  EXPECT_EQ(refusal({TarBuilder().symlink("s", "f").file("f").file("s/x")}).code(), ErrorCode::kCorruption);
}

TEST(TreeModel, AParentThatIsASymlinkIsFollowedInsideTheRoot) {
  const TarBuilder lower = TarBuilder().directory("usr/lib").directory("etc");
  for (const char* target :
       {"usr/lib", "/usr/lib", "./usr//lib", "etc/../usr/lib", "../../usr/lib", "/../usr/lib", "usr/../../usr/lib"}) {
    EXPECT_EQ(names({lower, TarBuilder().symlink("lib", target), TarBuilder().file("lib/x")}),
              std::string("etc/ lib->") + target + " usr/ usr/lib/ usr/lib/x");
  }
  // Below the link new directories are made; a link of a link; a link in a directory is relative to that.
  EXPECT_EQ(names({lower, TarBuilder().symlink("lib", "usr/lib").file("lib/a/b")}),
            "etc/ lib->usr/lib usr/ usr/lib/ usr/lib/a/ usr/lib/a/b");
  EXPECT_EQ(names({lower, TarBuilder().symlink("a", "b").symlink("b", "etc").file("a/x")}),
            "a->b b->etc etc/ etc/x usr/ usr/lib/");
  EXPECT_EQ(names({lower, TarBuilder().symlink("usr/up", "..").file("usr/up/x")}), "etc/ usr/ usr/lib/ usr/up->.. x");
}

TEST(TreeModel, ADanglingSymlinkAsParentGetsItsTarget) {
  EXPECT_EQ(names({TarBuilder().symlink("lib", "usr/lib").file("lib/x")}), "lib->usr/lib usr/ usr/lib/ usr/lib/x");
}

TEST(TreeModel, AnEndlessSymlinkAsParentIsAnError) {
  EXPECT_EQ(refusal({TarBuilder().symlink("s", "s").file("s/x")}).message(),
            "entry \"s/x\": more than 40 symlinks in its path");
  TarBuilder chain;
  chain.directory("s0");
  for (int i = 1; i <= 41; ++i) chain.symlink("s" + std::to_string(i), "s" + std::to_string(i - 1));
  EXPECT_NE(model_of({chain, TarBuilder().file("s40/x")})->find("s0/x"), nullptr);
  EXPECT_EQ(refusal({chain, TarBuilder().file("s41/x")}).code(), ErrorCode::kCorruption);
}

TEST(TreeModel, DirectoriesNestedTooDeepAreRefused) {
  std::string path;
  for (int i = 0; i < 2047; ++i) path += "d/";
  EXPECT_NE(model_of({TarBuilder().file(path + "x")})->find(path + "x"), nullptr);
  const Error error = refusal({TarBuilder().directory(path).symlink("s", path.substr(0, 4000)).directory("s/" + path)});
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
}

TEST(TreeModel, SymlinkTargetsStayVerbatim) {
  EXPECT_EQ(names({TarBuilder().symlink("s", "/abs//./../x/")}), "s->/abs//./../x/");
}

// --- replacement

TEST(TreeModel, TheLastOfDuplicatesWins) {
  const auto model = model_of({TarBuilder().file("x", "first").mode(0600).file("./x", "second")});
  EXPECT_TRUE(has_content(*model, "x", "second"));
  EXPECT_EQ(model->find("x")->attributes.permissions, 0600);
}

TEST(TreeModel, ADirectoryOverADirectoryUpdatesItsAttributesAlone) {
  const auto model = model_of({TarBuilder().pax({{"SCHILY.xattr.user.a", "1"}}).directory("d").file("d/x", "1"),
                               TarBuilder().mode(0700).pax({{"SCHILY.xattr.user.b", "2"}}).directory("d")});
  EXPECT_EQ(names(*model), "d/ d/x");
  EXPECT_EQ(model->find("d")->attributes.permissions, 0700);
  EXPECT_EQ(model->find("d")->attributes.xattrs, (Xattrs{{"user.b", "2"}}));
}

TEST(TreeModel, AnythingElseIsReplaced) {
  const TarBuilder lower = TarBuilder().directory("d").file("d/x").file("d/e/y").file("f").symlink("s", "d");
  EXPECT_EQ(names({lower, TarBuilder().file("d")}), "d f s->d");
  EXPECT_EQ(names({lower, TarBuilder().symlink("d", "f")}), "d->f f s->d");
  EXPECT_EQ(names({lower, TarBuilder().directory("f")}), "d/ d/e/ d/e/y d/x f/ s->d");
  EXPECT_EQ(names({lower, TarBuilder().directory("s")}), "d/ d/e/ d/e/y d/x f s/");
  EXPECT_EQ(names({lower, TarBuilder().file("d").directory("d")}), "d/ f s->d");
  EXPECT_EQ(names({lower, TarBuilder().fifo("f")}), "d/ d/e/ d/e/y d/x f s->d");
  const auto written = model_of({lower, TarBuilder().file("s", "1")});  // not through the link
  EXPECT_TRUE(has_content(*written, "s", "1"));
}

// --- whiteouts

TEST(TreeModel, AWhiteoutRemovesWhatLowerLayersHave) {
  const TarBuilder lower = TarBuilder().file("d/x").file("d/e/y").file("f");
  EXPECT_EQ(names({lower, TarBuilder().whiteout("d/x")}), "d/ d/e/ d/e/y f");
  EXPECT_EQ(names({lower, TarBuilder().whiteout("d")}), "f");
  EXPECT_EQ(names({lower, TarBuilder().whiteout("f").whiteout("d/e")}), "d/ d/x");
  EXPECT_EQ(names({lower, TarBuilder().file("new"), TarBuilder().whiteout("new")}), "d/ d/e/ d/e/y d/x f");
}

TEST(TreeModel, AWhiteoutOfNothingIsIgnored) {
  EXPECT_EQ(names({TarBuilder().file("f").whiteout("x").whiteout("f/../y")}), "f");
}

TEST(TreeModel, AWhiteoutThroughASymlinkedParentHidesWhatItLeadsTo) {
  EXPECT_EQ(names({TarBuilder().file("usr/lib/x").symlink("lib", "usr/lib"), TarBuilder().whiteout("lib/x")}),
            "lib->usr/lib usr/ usr/lib/");
}

TEST(TreeModel, AWhiteoutSparesThisLayersOwnFile) {
  const std::string text = in_any_order(TarBuilder().file("x", "lower"), {[](TarBuilder& t) { t.file("x", "own"); },
                                                                          [](TarBuilder& t) { t.whiteout("x"); }});
  EXPECT_EQ(text.substr(0, 2), "x[");
  EXPECT_TRUE(
      has_content(*model_of({TarBuilder().file("x"), TarBuilder().file("x", "own").whiteout("x")}), "x", "own"));
}

TEST(TreeModel, AWhiteoutOfADirectorySparesThisLayersPathsBelowAndForgetsItsAttributes) {
  const TarBuilder lower = TarBuilder()
                               .mode(0700)
                               .mtime(5)
                               .pax({{"SCHILY.xattr.user.a", "1"}})
                               .directory("d")
                               .file("d/old")
                               .file("d/e/old")
                               .mode(0700)
                               .directory("d/e");
  const std::string text =
      in_any_order(lower, {[](TarBuilder& t) { t.file("d/e/new"); }, [](TarBuilder& t) { t.file("d/new"); },
                           [](TarBuilder& t) { t.whiteout("d"); }});
  const auto model = model_of({lower, TarBuilder().file("d/e/new").file("d/new").whiteout("d")});
  EXPECT_EQ(everything(*model), text);
  EXPECT_EQ(names(*model), "d/ d/e/ d/e/new d/new");
  for (const char* path : {"d", "d/e"}) {
    EXPECT_EQ(model->find(path)->attributes.permissions, 0755) << path;
    EXPECT_EQ(model->find(path)->attributes.mtime, Timestamp{});
    EXPECT_EQ(model->find(path)->attributes.xattrs, Xattrs{});
  }
}

TEST(TreeModel, AWhiteoutSparesTheAttributesThatThisLayerDeclared) {
  const TarBuilder lower = TarBuilder().mode(0700).directory("d").file("d/old");
  const std::string text =
      in_any_order(lower, {[](TarBuilder& t) { t.mode(0711).mtime(8).directory("d"); },
                           [](TarBuilder& t) { t.whiteout("d"); }, [](TarBuilder& t) { t.file("d/new"); }});
  EXPECT_EQ(text.substr(0, 13), "d/[457,0,8] d");
}

TEST(TreeModel, OrderDoesNotMatterToWhiteoutsWithinWhiteouts) {
  in_any_order(TarBuilder().file("d/e/x").file("d/e/y").file("d/z"),
               {[](TarBuilder& t) { t.whiteout("d"); }, [](TarBuilder& t) { t.whiteout("d/e"); },
                [](TarBuilder& t) { t.opaque("d/e"); }, [](TarBuilder& t) { t.file("d/e/new"); },
                [](TarBuilder& t) { t.mode(0700).directory("d/e"); }});
}

TEST(TreeModel, AWhiteoutLeavesOtherNamesOfTheFile) {
  const auto model = model_of({TarBuilder().file("a", "1").hardlink("b", "a"), TarBuilder().whiteout("a")});
  EXPECT_EQ(names(*model), "b");
  EXPECT_TRUE(has_content(*model, "b", "1"));
  EXPECT_EQ(model->find("b")->links, 1U);
}

TEST(TreeModel, ReservedWhiteoutsAreRefused) {
  for (const char* name : {".wh.", "d/.wh..", "d/.wh..."}) {
    const Error error = refusal({TarBuilder().directory("d").file(name)});
    EXPECT_EQ(error.code(), ErrorCode::kCorruption);
    EXPECT_EQ(error.message(), std::string("entry \"") + name + "\": a whiteout of no name");
  }
}

TEST(TreeModel, AufsBookkeepingIsLeftOut) {
  EXPECT_EQ(names({TarBuilder()
                       .directory(".wh..wh.plnk")
                       .file(".wh..wh.plnk/1.2", "1")
                       .file(".wh..wh.aufs")
                       .directory("d/.wh..wh.orph")
                       .file("x")}),
            "x");
}

// --- opaque directories

TEST(TreeModel, AnOpaqueMarkerHidesLowerContentAndSparesThisLayersInAnyOrder) {
  const TarBuilder lower = TarBuilder().mode(0700).directory("d").file("d/x").mode(0700).directory("d/e").file("d/e/y");
  const std::string text =
      in_any_order(lower, {[](TarBuilder& t) { t.file("d/new"); }, [](TarBuilder& t) { t.opaque("d"); },
                           [](TarBuilder& t) { t.file("d/e/new"); }});
  const auto model = model_of({lower, TarBuilder().file("d/new").file("d/e/new").opaque("d")});
  EXPECT_EQ(everything(*model), text);
  EXPECT_EQ(names(*model), "d/ d/e/ d/e/new d/new");
  EXPECT_EQ(model->find("d")->attributes.permissions, 0700);  // it is not hidden itself
  EXPECT_EQ(model->find("d/e")->attributes.permissions, 0755);
}

TEST(TreeModel, AnOpaqueMarkerOnAMissingDirectoryMakesIt) {
  const auto model = model_of({TarBuilder().opaque("a/b")});
  EXPECT_EQ(names(*model), "a/ a/b/");
  EXPECT_EQ(model->find("a/b")->attributes.permissions, 0755);
}

TEST(TreeModel, TheRootCanBeOpaque) {
  EXPECT_EQ(names({TarBuilder().file("a/x").file("b"), TarBuilder().file("c").opaque("").file("a/y")}), "a/ a/y c");
}

// --- hardlinks

TEST(TreeModel, HardlinksShareOneFile) {
  const auto model = model_of({TarBuilder().mode(0640).file("d/a", "1").hardlink("b", "d/a").hardlink("c", "./b")});
  EXPECT_EQ(model->find("d/a"), model->find("c"));
  EXPECT_EQ(model->find("b"), model->find("c"));
  EXPECT_EQ(model->find("b")->links, 3U);
}

TEST(TreeModel, AHardlinkReachesIntoLowerLayersAndSurvivesItsTarget) {
  const auto model =
      model_of({TarBuilder().file("a", "1"), TarBuilder().hardlink("b", "a"), TarBuilder().file("a", "2")});
  EXPECT_TRUE(has_content(*model, "b", "1"));
  EXPECT_TRUE(has_content(*model, "a", "2"));
  EXPECT_EQ(model->find("a")->links, 1U);
  EXPECT_EQ(model->find("b")->links, 1U);
}

TEST(TreeModel, AHardlinksTargetIsFoundThroughSymlinkedParentsButNotFollowedItself) {
  const auto model = model_of({TarBuilder()
                                   .file("usr/lib/x", "1")
                                   .symlink("lib", "/usr/lib")
                                   .hardlink("a", "lib/x")
                                   .symlink("s", "nowhere")
                                   .hardlink("t", "s")});
  EXPECT_EQ(model->find("a"), model->find("usr/lib/x"));
  EXPECT_EQ(model->find("t")->symlink, "nowhere");
  EXPECT_EQ(model->find("t"), model->find("s"));
}

TEST(TreeModel, AHardlinkToNothingOrToADirectoryIsAnError) {
  EXPECT_EQ(refusal({TarBuilder().hardlink("usr/x", "usr/y")}).message(),
            "entry \"usr/x\": hardlink target \"usr/y\" does not exist");
  EXPECT_EQ(refusal({TarBuilder().hardlink("x", "no/where")}).message(),
            "entry \"x\": hardlink target \"no/where\" does not exist");
  EXPECT_EQ(refusal({TarBuilder().directory("d").hardlink("x", "d")}).message(),
            "entry \"x\": hardlink target \"d\" is a directory");
  EXPECT_EQ(refusal({TarBuilder().hardlink("x", "/")}).code(), ErrorCode::kCorruption);
  EXPECT_EQ(refusal({TarBuilder().file("a"), TarBuilder().whiteout("a").hardlink("b", "a")}).code(),
            ErrorCode::kCorruption);
}

TEST(TreeModel, AHardlinkToItselfChangesNothing) {
  const auto model = model_of({TarBuilder().file("a", "1").hardlink("a", "./a")});
  EXPECT_TRUE(has_content(*model, "a", "1"));
  EXPECT_EQ(model->find("a")->links, 1U);
}

TEST(TreeModel, AHardlinkMayReplaceTheDirectoryThatHoldsItsTarget) {
  const auto model = model_of({TarBuilder().file("d/x", "1").file("d/y").hardlink("d", "d/x")});
  EXPECT_EQ(names(*model), "d");
  EXPECT_TRUE(has_content(*model, "d", "1"));
  EXPECT_EQ(model->find("d")->links, 1U);
}

TEST(TreeModel, LinkCountsFollowRemovals) {
  const auto model = model_of(
      {TarBuilder().file("d/a", "1").hardlink("d/e/b", "d/a").hardlink("c", "d/a"), TarBuilder().whiteout("d")});
  EXPECT_EQ(names(*model), "c");
  EXPECT_EQ(model->find("c")->links, 1U);
}

// --- breakouts, as other tools' advisories tell them

TEST(TreeModel, NothingLeadsOutOfTheRoot) {
  EXPECT_EQ(names({TarBuilder().directory("tmp").symlink("out", "../../../../tmp").file("out/x")}),
            "out->../../../../tmp tmp/ tmp/x");
  EXPECT_EQ(refusal({TarBuilder().symlink("out", "/etc").hardlink("x", "out/passwd")}).code(), ErrorCode::kCorruption);
  EXPECT_EQ(refusal({TarBuilder().hardlink("x", "../../../etc/passwd")}).code(), ErrorCode::kCorruption);
  EXPECT_EQ(names({TarBuilder().directory("d").symlink("d/s", "/"), TarBuilder().file("d/s/x").whiteout("d/s/d")}),
            "x");
}

// --- content

TEST(ContentDigest, DoesNotDependOnHowContentIsDivided) {
  std::string content(20'000, '\0');
  for (std::size_t i = 9000; i < 13'000; ++i) content[i] = static_cast<char>(i);
  content[19'999] = 'x';
  ContentDigest whole;
  whole.add({0}, as_bytes(content));
  const Digest expected = whole.finish();
  for (const std::size_t piece : std::initializer_list<std::size_t>{1, 7, 511, 4096, 5000}) {
    ContentDigest digest;
    for (std::size_t at = 0; at < content.size(); at += piece) {
      digest.add({at}, as_bytes(std::string_view(content).substr(at, piece)));
    }
    EXPECT_EQ(digest.finish(), expected) << piece;
  }
  ContentDigest sparse;
  sparse.add({9000}, as_bytes(std::string_view(content).substr(9000, 4000)));
  sparse.add({19'999}, as_bytes("x"));
  EXPECT_EQ(sparse.finish(), expected);
}

TEST(ContentDigest, TellsPlacesApart) {
  ContentDigest first;
  first.add({0}, as_bytes("x"));
  ContentDigest second;
  second.add({4096}, as_bytes("x"));
  EXPECT_NE(first.finish(), second.finish());
}

TEST(TreeModel, AHugeHoleCostsNothing) {
  const auto model = model_of({TarBuilder()
                                   .pax({{"GNU.sparse.size", "17592186040320"},
                                         {"GNU.sparse.numblocks", "1"},
                                         {"GNU.sparse.map", "17592186040000,4"}})
                                   .file("vast", "data")});
  EXPECT_EQ(model->find("vast")->size, Bytes{17592186040320});
}

}  // namespace
}  // namespace dadi::fs
