// Writing images into layouts and archives.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <thread>

#include "libconvert/oci/image.h"
#include "libconvert/oci/json.h"
#include "libconvert/oci/staging.h"
#include "tests/convert/oci_fixture.h"

namespace dadi::oci {
namespace {

using namespace test;

// Writes an image of one layer with that content; its manifest's descriptor.
Result<Descriptor> put_image(ImageDestination& destination, std::string_view content) {
  DADI_TRY(const Descriptor layer, put_document(destination, content, kOciLayer));
  DADI_TRY(const Descriptor config, put_document(destination, config_json({layer.digest}), kOciConfig));
  const Manifest manifest{.media_type = std::string(kOciManifest),
                          .artifact_type = {},
                          .config = config,
                          .layers = {layer},
                          .subject = {},
                          .annotations = {}};
  return put_document(destination, manifest.to_json(), kOciManifest);
}

Result<Descriptor> write_image(const std::string& reference, std::string_view content) {
  DADI_TRY(const auto destination, open_destination(reference));
  DADI_TRY(Descriptor root, put_image(*destination, content));
  DADI_CHECK(destination->commit(root));
  return root;
}

// The content of the only layer of the image there.
std::string layer_of(const std::string& reference) {
  const auto source = open_source(reference);
  if (!source) return outcome(source);
  const auto selection = select(**source, {.platform = *parse_platform("linux/amd64")});
  return selection ? blob_text(**source, selection->images[0].manifest.layers[0]) : outcome(selection);
}

std::vector<std::string> tags_in(const fs::path& layout) {
  std::vector<std::string> tags;
  const std::string text = read_text(layout / "index.json");
  const auto index = Index::parse(as_bytes(text), "");
  if (!index) return {outcome(index)};
  for (const Descriptor& descriptor : index->manifests) tags.push_back(descriptor.annotation(kRefName));
  return tags;
}

class Destination : public ::testing::Test {
 protected:
  fs::path layout() const { return temp_ / "layout"; }
  std::string to(const std::string& tag) const { return "oci:" + layout().string() + tag; }
  std::string archive(const std::string& tag = "") const {
    return "oci-archive:" + (temp_ / "image.tar").string() + tag;
  }

  TempFolder temp_;
};

TEST_F(Destination, AnImageWrittenIsTheImageRead) {
  ASSERT_OK(write_image(to(":1.0"), "hello"));
  EXPECT_EQ(layer_of(to(":1.0")), "hello");
  ASSERT_OK(write_image(archive(":1.0"), "hello"));
  EXPECT_EQ(layer_of(archive(":1.0")), "hello");
}

TEST_F(Destination, TheTagIsLatestWhenNoneIsGiven) {
  ASSERT_OK(write_image(to(""), "x"));
  EXPECT_EQ(tags_in(layout()), std::vector<std::string>{"latest"});
  ASSERT_OK(write_image(archive(), "x"));
  EXPECT_EQ(layer_of(archive(":latest")), "x");
}

TEST_F(Destination, NothingIsSeenBeforeTheCommit) {
  const auto destination = open_destination(to(":1"));
  ASSERT_OK(destination);
  const auto root = put_image(**destination, "x");
  ASSERT_OK(root);
  for (const auto& entry : fs::directory_iterator(layout()))
    EXPECT_TRUE(entry.path().filename().string().starts_with(".dadi.")) << entry.path();
  ASSERT_OK((*destination)->commit(*root));
  EXPECT_EQ(layer_of(to(":1")), "x");
}

TEST_F(Destination, AFailureLeavesNothingNotEvenTheFolder) {
  const std::string deep = "oci:" + (temp_ / "a/b/c").string();
  {
    const auto destination = open_destination(deep);
    ASSERT_OK(destination);
    ASSERT_OK(put_image(**destination, "x"));
    const auto unfinished = (*destination)->create_blob({10});
    ASSERT_OK(unfinished);
    ASSERT_OK((*unfinished)->write(as_bytes("part")));
  }
  EXPECT_TRUE(tree_of(temp_.path()).empty());
  {
    const auto destination = open_destination(archive());
    ASSERT_OK(destination);
    ASSERT_OK(put_image(**destination, "x"));
  }
  EXPECT_TRUE(tree_of(temp_.path()).empty());
}

TEST_F(Destination, AFailureLeavesAnExistingLayoutAsItWas) {
  ASSERT_OK(write_image(to(":1"), "one"));
  const auto before = tree_of(layout());
  {
    const auto destination = open_destination(to(":1"));
    ASSERT_OK(destination);
    ASSERT_OK(put_image(**destination, "two"));
  }
  EXPECT_EQ(tree_of(layout()), before);
}

TEST_F(Destination, ACommitThatFailsTakesBackWhatItMoved) {
  ASSERT_OK(write_image(to(":1"), "one"));
  const auto destination = open_destination(to(":2"));
  ASSERT_OK(destination);
  const auto root = put_image(**destination, "two");
  ASSERT_OK(root);
  write_text(layout() / "index.json", "not json any more");
  const auto blobs = tree_of(layout() / "blobs");
  EXPECT_FAILS((*destination)->commit(*root), kCorruption, "index.json");
  EXPECT_EQ(tree_of(layout() / "blobs"), blobs);
  EXPECT_EQ(read_text(layout() / "index.json"), "not json any more");
}

TEST_F(Destination, ACommitIntoANewFolderThatFailsLeavesNothing) {
  {
    const auto destination = open_destination(to(""));
    ASSERT_OK(destination);
    const auto root = put_image(**destination, "x");
    ASSERT_OK(root);
    fs::create_directory(layout() / "index.json");  // cannot be replaced by a file
    EXPECT_FALSE((*destination)->commit(*root));
    fs::remove(layout() / "index.json");
  }
  EXPECT_TRUE(tree_of(temp_.path()).empty());
}

TEST_F(Destination, WritingTwiceGivesTheSameBytes) {
  ASSERT_OK(write_image(to(":1"), "one"));
  const auto before = tree_of(layout());
  const auto written = fs::last_write_time(layout() / "index.json");
  ASSERT_OK(write_image(to(":1"), "one"));
  EXPECT_EQ(tree_of(layout()), before);
  EXPECT_EQ(fs::last_write_time(layout() / "index.json"), written);

  ASSERT_OK(write_image(archive(":1"), "one"));
  const std::string first = read_text(temp_ / "image.tar");
  ASSERT_OK(write_image(archive(":1"), "one"));
  EXPECT_EQ(read_text(temp_ / "image.tar"), first);
}

TEST_F(Destination, ABlobThatIsThereIsNotWrittenAgainUnlessItsSizeIsWrong) {
  const auto root = write_image(to(":1"), "one");
  ASSERT_OK(root);
  const fs::path layer = layout() / "blobs/sha256" / Digest::of(as_bytes("one")).hex();
  const fs::path manifest = layout() / "blobs/sha256" / root->digest.hex();
  const auto inode = [](const fs::path& path) {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return status.st_ino;
  };
  const auto before = inode(manifest);
  write_text(layer, "on");
  ASSERT_OK(write_image(to(":1"), "one"));
  EXPECT_EQ(inode(manifest), before);
  EXPECT_EQ(read_text(layer), "one");
}

TEST_F(Destination, ATagMovesAndOthersStay) {
  ASSERT_OK(write_image(to(":a"), "one"));
  ASSERT_OK(write_image(to(":b"), "two"));
  ASSERT_OK(write_image(to(":a"), "three"));
  EXPECT_EQ(tags_in(layout()), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(layer_of(to(":a")), "three");
  EXPECT_EQ(layer_of(to(":b")), "two");
}

TEST_F(Destination, KeepsEntriesAndFieldsOfIndexJsonThatItDoesNotKnow) {
  LayoutBuilder builder(layout());
  const std::string entry =
      R"({"mediaType":"application/x","digest":"sha512:zz","size":1,"data":"e30=","x-own":[1,2]})";
  write_text(layout() / "index.json",
             R"({"schemaVersion":2,"x-tool":{"b":1,"a":2},"manifests":[)" + entry + R"(],"annotations":{"k":"v"}})");
  ASSERT_OK(write_image(to(":1"), "x"));
  const std::string after = read_text(layout() / "index.json");
  EXPECT_NE(after.find(R"("x-tool":{"b":1,"a":2})"), std::string::npos) << after;
  EXPECT_NE(after.find(entry), std::string::npos) << after;
  EXPECT_NE(after.find(R"("annotations":{"k":"v"})"), std::string::npos) << after;
  EXPECT_NE(after.find(R"("org.opencontainers.image.ref.name":"1")"), std::string::npos) << after;
}

TEST_F(Destination, RefusesAFolderOfOtherThings) {
  write_text(layout() / "thesis.txt", "years of work");
  EXPECT_FAILS(open_destination(to("")), kInvalidArgument, "thesis.txt");
  EXPECT_EQ(tree_of(layout()).size(), 1U);
  write_text(temp_ / "file", "x");
  EXPECT_FAILS(open_destination("oci:" + (temp_ / "file").string()), kInvalidArgument, "not a folder");
  EXPECT_FAILS(open_destination("oci-archive:" + layout().string()), kInvalidArgument, "is a folder");
  EXPECT_FAILS(open_destination("oci-archive:" + (temp_ / "none/x.tar").string()), kNotFound, "none");
}

TEST_F(Destination, RefusesALayoutThatIsDamagedBeforeAnythingIsWritten) {
  LayoutBuilder builder(layout());
  write_text(layout() / "index.json", "{");
  EXPECT_FAILS(open_destination(to("")), kCorruption, "index.json");
  write_text(layout() / "oci-layout", R"({"imageLayoutVersion":"2.0.0"})");
  EXPECT_FAILS(open_destination(to("")), kUnsupported, "2.0.0");
}

TEST_F(Destination, KnowsWhichBlobsAreThere) {
  ASSERT_OK(write_image(to(":1"), "one"));
  const auto destination = open_destination(to(":2"));
  ASSERT_OK(destination);
  const Digest one = Digest::of(as_bytes("one"));
  const Digest two = Digest::of(as_bytes("two"));
  EXPECT_TRUE(*(*destination)->has_blob(one, {3}));
  EXPECT_FALSE(*(*destination)->has_blob(one, {4}));
  EXPECT_FALSE(*(*destination)->has_blob(two, {3}));
  const auto root = put_image(**destination, "two");
  ASSERT_OK(root);
  EXPECT_TRUE(*(*destination)->has_blob(two, {3}));
  // What was relied on must still be there when the image becomes visible.
  fs::remove(layout() / "blobs/sha256" / one.hex());
  EXPECT_FAILS((*destination)->commit(*root), kIo, one.to_string());
  EXPECT_EQ(tags_in(layout()), std::vector<std::string>{"1"});
}

TEST_F(Destination, BlobsMayBeWrittenByManyThreads) {
  const auto destination = open_destination(to(":1"));
  ASSERT_OK(destination);
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 8; ++t)
      threads.emplace_back([&, t] {
        for (int i = 0; i < 5; ++i) EXPECT_TRUE(put_document(**destination, std::to_string(t * 5 + i), kOciLayer));
      });
  }
  const auto root = put_image(**destination, "x");
  ASSERT_OK(root);
  ASSERT_OK((*destination)->commit(*root));
  for (int i = 0; i < 40; ++i) {
    const std::string text = std::to_string(i);
    EXPECT_EQ(read_text(layout() / "blobs/sha256" / Digest::of(as_bytes(text)).hex()), text);
  }
}

// Runs `body` in a process of its own, which ends when it returns.
template <typename Body>
pid_t in_child(const Body& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body() ? 0 : 1);
  return child;
}
int wait_for(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST_F(Destination, TwoProcessesWritingFiftyTagsEachLoseNone) {
  std::vector<pid_t> children;
  for (const std::string name : {"a", "b"})
    children.push_back(in_child([&] {
      for (int i = 0; i < 50; ++i)
        if (!write_image(to(":" + name + std::to_string(i)), name + std::to_string(i))) return false;
      return true;
    }));
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(tags_in(layout()).size(), 100U);
  for (const std::string name : {"a0", "a49", "b0", "b49"}) EXPECT_EQ(layer_of(to(":" + name)), name);
  for (const auto& entry : fs::directory_iterator(layout()))
    EXPECT_FALSE(entry.path().filename().string().starts_with(".dadi")) << entry.path();
}

TEST_F(Destination, ProcessesThatGiveUpDoNotPullTheFolderFromUnderOthers) {
  std::vector<pid_t> children;
  children.push_back(in_child([&] {
    for (int i = 0; i < 200; ++i) {
      const auto opened = open_destination(to(":gone"));
      if (!opened) {
        ADD_FAILURE() << opened.error().message();
        return false;
      }
    }
    return true;
  }));
  children.push_back(in_child([&] {
    for (int i = 0; i < 100; ++i) {
      const fs::path own = layout();
      if (!write_image(to(":kept"), "x") || layer_of(to(":kept")) != "x") return false;
      if (const auto lock = FileLock::acquire(own / ".dadi.lock")) {  // the other one must not see half a layout
        fs::remove_all(own / "blobs");
        fs::remove(own / "index.json");
        fs::remove(own / "oci-layout");
      }
      std::error_code ignored;
      fs::remove(own, ignored);  // the other one may be in it
    }
    return true;
  }));
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
}

TEST_F(Destination, WhatAKilledProcessLeftIsRemovedByTheNext) {
  for (const std::string& reference : {to(":1"), archive(":1")}) {
    std::array<int, 2> ready{};
    ASSERT_EQ(::pipe2(ready.data(), O_CLOEXEC), 0);
    const pid_t child = in_child([&] {
      const auto destination = open_destination(reference);
      if (!destination || !put_image(**destination, "dead")) return false;
      if (::write(ready[1], "x", 1) != 1) return false;
      ::pause();
      return true;
    });
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    const auto stages = [&] {
      int count = 0;
      for (const auto& entry : fs::recursive_directory_iterator(temp_.path()))
        if (entry.path().filename().string().starts_with(StagingFolder::kPrefix)) ++count;
      return count;
    };
    // While it lives, its staging folder is left alone …
    { ASSERT_OK(open_destination(reference)); }
    EXPECT_EQ(stages(), 1);
    ::kill(child, SIGKILL);
    wait_for(child);
    EXPECT_EQ(stages(), 1);
    // … and afterwards it goes.
    { ASSERT_OK(open_destination(reference)); }
    EXPECT_EQ(stages(), 0);
    ::close(ready[0]);
    ::close(ready[1]);
  }
}

TEST_F(Destination, AnArchiveIsAnOrdinaryTarThatOthersRead) {
  const auto root = write_image(archive(":1"), std::string(100'000, 'x'));
  ASSERT_OK(root);
  ASSERT_TRUE(run("tar -C " + temp_.path().string() + " -xf " + (temp_ / "image.tar").string()));
  EXPECT_EQ(read_text(temp_ / "oci-layout"), R"({"imageLayoutVersion":"1.0.0"})");
  EXPECT_EQ(layer_of("oci:" + temp_.path().string() + ":1"), std::string(100'000, 'x'));
  EXPECT_EQ(fs::file_size(temp_ / "image.tar") % 512, 0U);
}

TEST_F(Destination, SkopeoReadsWhatIsWritten) {
  if (!have_tool("skopeo")) GTEST_SKIP() << "skopeo is not installed";
  const std::string tar = tar_of({tar_member("etc/hostname", "dadi\n")});
  ASSERT_OK(write_image(to(":1"), tar));
  ASSERT_OK(write_image(archive(":1"), tar));
  int copies = 0;
  for (const std::string& reference : {to(":1"), archive(":1")}) {
    const std::string copy = (temp_ / ("copy" + std::to_string(++copies))).string();
    ASSERT_TRUE(run("skopeo --insecure-policy copy " + reference + " dir:" + copy)) << reference;
    EXPECT_EQ(read_text(copy + "/" + Digest::of(as_bytes(tar)).hex()), tar);
  }
}

TEST_F(Destination, UmociWritesIntoTheSameLayout) {
  if (!have_tool("umoci")) GTEST_SKIP() << "umoci is not installed";
  ASSERT_TRUE(run("umoci init --layout " + layout().string()));
  ASSERT_TRUE(run("umoci new --image " + layout().string() + ":theirs"));
  ASSERT_OK(write_image(to(":ours"), tar_of({tar_member("etc/hostname", "dadi\n")})));
  EXPECT_EQ(tags_in(layout()), (std::vector<std::string>{"theirs", "ours"}));
  ASSERT_TRUE(run("umoci unpack --rootless --image " + layout().string() + ":ours " + (temp_ / "bundle").string()));
  EXPECT_EQ(read_text(temp_ / "bundle/rootfs/etc/hostname"), "dadi\n");
  ASSERT_TRUE(run("umoci gc --layout " + layout().string()));
  ASSERT_OK(open_source(to(":theirs")));
  ASSERT_OK(open_source(to(":ours")));
}

}  // namespace
}  // namespace dadi::oci
