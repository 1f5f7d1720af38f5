// Reading images from OCI archives and from what `docker save` writes.
#include <random>

#include "libconvert/oci/file_tree.h"
#include "libconvert/oci/image.h"
#include "libconvert/oci/tar_writer.h"
#include "libformat/blob/file_blob.h"
#include "libformat/blob/memory_blob.h"
#include "tests/convert/oci_fixture.h"

namespace dadi::oci {
namespace {

using namespace test;

SharedBlob memory(std::string_view text) {
  return std::make_shared<MemoryBlob>(std::vector(as_bytes(text).begin(), as_bytes(text).end()));
}
Result<std::unique_ptr<TarTree>> open_tar(std::string_view text) {
  return TarTree::open(memory(text));
}
std::string content(const TarTree& tree, std::string_view name) {
  const auto bytes = read_file(tree, name, {1 << 20});
  return bytes ? std::string(as_text(*bytes)) : "error: " + bytes.error().message();
}

TEST(TarTree, FindsMembersByAnySpellingOfTheirNames) {
  const auto tree =
      open_tar(tar_of({tar_member("./a/b", "one"), tar_member("/c", "two"), tar_member("d//e/./f", "three")}));
  ASSERT_OK(tree);
  EXPECT_EQ(content(**tree, "a/b"), "one");
  EXPECT_EQ(content(**tree, "./a//b"), "one");
  EXPECT_EQ(content(**tree, "c"), "two");
  EXPECT_EQ(content(**tree, "d/e/f"), "three");
  EXPECT_TRUE((*tree)->contains("c"));
  EXPECT_FALSE((*tree)->contains("a"));
}

TEST(TarTree, NamesCannotLeadOutOfTheArchive) {
  const auto tree =
      open_tar(tar_of({tar_member("../../etc/passwd", "evil"), tar_member("a", "", '2', "../../etc/passwd"),
                       tar_member("b", "", '2', "/etc/passwd"), tar_member("c", "", '1', "../x")}));
  ASSERT_OK(tree);
  for (const std::string name : {"../../etc/passwd", "/etc/passwd", "etc/passwd", "a", "b", "c"})
    EXPECT_FAILS((*tree)->open(name), kNotFound, "no file");
}

TEST(TarTree, FollowsLinksButNotForever) {
  const auto tree =
      open_tar(tar_of({tar_member("x/layer.tar", "data"), tar_member("y/layer.tar", "", '2', "../x/layer.tar"),
                       tar_member("z", "", '1', "y/layer.tar"), tar_member("loop", "", '2', "loop"),
                       tar_member("absolute", "", '2', "/x/layer.tar")}));
  ASSERT_OK(tree);
  EXPECT_EQ(content(**tree, "y/layer.tar"), "data");
  EXPECT_EQ(content(**tree, "z"), "data");
  EXPECT_EQ(content(**tree, "absolute"), "data");
  EXPECT_FAILS((*tree)->open("loop"), kNotFound, "loop");
}

TEST(TarTree, TheLastMemberOfANameCounts) {
  const auto tree = open_tar(tar_of({tar_member("a", "old"), tar_member("a", "new")}));
  ASSERT_OK(tree);
  EXPECT_EQ(content(**tree, "a"), "new");
}

TEST(TarTree, ReadsPaxAndGnuNamesAndSizes) {
  const std::string name(300, 'n');
  const auto tree = open_tar(tar_of({
      tar_member("pax", pax_record("path", name) + pax_record("comment", "a=b\n"), 'x'),
      tar_member("short", "pax"),
      tar_member("gnu", "l" + name + std::string(1, '\0'), 'L'),
      tar_member("short", "gnu"),
      tar_member("gnu", name + std::string(1, '\0'), 'K'),
      tar_member("link", "", '2', "x"),
      tar_member("global", pax_record("comment", "x"), 'g'),
      tar_member("after", "plain"),
  }));
  ASSERT_OK(tree);
  EXPECT_EQ(content(**tree, name), "pax");
  EXPECT_EQ(content(**tree, "l" + name), "gnu");
  EXPECT_EQ(content(**tree, "link"), "pax");
  EXPECT_EQ(content(**tree, "after"), "plain");
  EXPECT_FALSE((*tree)->contains("short"));

  std::string sized = tar_member("a", "");
  sized.resize(512);
  const auto with_size = open_tar(tar_member("p", pax_record("size", "5"), 'x') + sized + std::string("hello") +
                                  std::string(507, '\0') + std::string(1024, '\0'));
  ASSERT_OK(with_size);
  EXPECT_EQ(content(**with_size, "a"), "hello");
}

TEST(TarTree, ReadsBinarySizes) {
  std::string member = tar_member("a", "hello");
  member.replace(124, 12, std::string("\x80\0\0\0\0\0\0\0\0\0\0\x05", 12));
  unsigned sum = 8 * ' ';
  for (std::size_t i = 0; i < 512; ++i)
    if (i < 148 || i >= 156) sum += static_cast<unsigned char>(member[i]);
  std::array<char, 8> text{};
  std::snprintf(text.data(), text.size(), "%06o", sum);
  member.replace(148, 7, text.data(), 7);
  const auto tree = open_tar(member);
  ASSERT_OK(tree);
  EXPECT_EQ(content(**tree, "a"), "hello");
}

TEST(TarWriter, MembersOfEightGibibytesAndMoreAreReadBackByUsAndByTar) {
  const TempFolder temp;
  for (const std::uint64_t size : {(std::uint64_t{1} << 33) - 1, std::uint64_t{1} << 33, std::uint64_t{9} << 30}) {
    const auto header = TarWriter::header("blobs/sha256/x", {size}, '0', 0644);
    write_text(temp / "big.tar", as_text(header));
    fs::resize_file(temp / "big.tar", 512 + round_up(size, 512) + 1024);  // sparse
    const auto file = FileBlob::open(temp / "big.tar");
    ASSERT_OK(file);
    const auto tree = TarTree::open(*file);
    ASSERT_OK(tree);
    const auto member = (*tree)->open("blobs/sha256/x");
    ASSERT_OK(member);
    EXPECT_EQ((*member)->size().value, size);
    EXPECT_TRUE(run("tar -tvf " + (temp / "big.tar").string() + " | grep ' " + std::to_string(size) + " '"));
  }
}

TEST(TarTree, SaysWhereAnArchiveIsCutShort) {
  const std::string archive = tar_member("a", std::string(2000, 'a')) + tar_member("b", "x");
  ASSERT_OK(open_tar(archive));  // the zero blocks at the end may be missing
  EXPECT_FAILS(open_tar(archive.substr(0, 1500)), kCorruption, "cut short at byte 1500");
  EXPECT_FAILS(open_tar(archive.substr(0, 512 + 2048 + 100)), kCorruption, "cut short");
}

TEST(TarTree, RefusesWhatIsNoTar) {
  EXPECT_FAILS(open_tar(""), kCorruption, "not a tar");
  EXPECT_FAILS(open_tar(std::string(4096, 'x')), kCorruption, "not a tar header at byte 0");
  const std::string good = tar_member("a", "x");
  EXPECT_FAILS(open_tar(good + std::string(512, 'x')), kCorruption, "byte 1024");
  std::string damaged = good;
  damaged[3] ^= 1;
  EXPECT_FAILS(open_tar(damaged), kCorruption, "not a tar header");
}

TEST(TarTree, SaysHowToOpenACompressedArchive) {
  for (const auto& [magic, program] : std::map<std::string, std::string>{{"\x1f\x8b\x08", "gzip"},
                                                                         {"\x28\xb5\x2f\xfd", "zstd"},
                                                                         {"\xfd"
                                                                          "7zXZ",
                                                                          "xz"},
                                                                         {"BZh9", "bzip2"}}) {
    const auto tree = open_tar(magic + std::string(1000, 'x'));
    EXPECT_FAILS(tree, kUnsupported, "compressed");
    EXPECT_NE(tree.error().hint().find(program), std::string::npos);
  }
}

TEST(TarTree, RefusesMalformedExtensions) {
  for (const std::string record :
       {"5", "999999999999999999999 a=b\n", "6 a=b", "4 a=\n", "3 a\n", "0 a=b\n", "100 a=b\n", "7 path\n"})
    EXPECT_FAILS(open_tar(tar_of({tar_member("x", record, 'x'), tar_member("a", "")})), kCorruption, "pax header");
  for (const std::string size : {"-1", "1x", "", "9223372036854775808"})
    EXPECT_FAILS(open_tar(tar_of({tar_member("x", pax_record("size", size), 'x'), tar_member("a", "")})), kCorruption,
                 "size");
  EXPECT_FAILS(open_tar(tar_of({tar_member("x", pax_record("size", "9223372036854775807"), 'x'), tar_member("a", "")})),
               kCorruption, "cut short");
  EXPECT_FAILS(open_tar(tar_of({tar_member("x", pax_record("GNU.sparse.major", "1"), 'x'), tar_member("a", "")})),
               kUnsupported, "sparse");
  EXPECT_FAILS(open_tar(tar_of({tar_member("x", std::string(2 << 20, 'x'), 'L')})), kCorruption, "extension");
}

TEST(TarTree, EndsWellOnAnyDamage) {
  const std::string good = tar_of({tar_member("p", pax_record("path", "long/name"), 'x'), tar_member("a", "content"),
                                   tar_member("l", std::string("name\0", 5), 'L'), tar_member("b", "", '2', "a")});
  std::mt19937 random(1);
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = good;
    for (int flips = 0; flips < 3; ++flips) damaged[random() % damaged.size()] = static_cast<char>(random());
    // A checksum that fits lets the damage through to the fields.
    for (std::size_t at = 0; at + 512 <= damaged.size(); at += 1024) {
      unsigned sum = 8 * ' ';
      for (std::size_t k = 0; k < 512; ++k)
        if (k < 148 || k >= 156) sum += static_cast<unsigned char>(damaged[at + k]);
      std::array<char, 8> text{};
      std::snprintf(text.data(), text.size(), "%06o", sum);
      damaged.replace(at + 148, 7, text.data(), 7);
    }
    damaged.resize(damaged.size() - random() % 600);
    const auto tree = open_tar(damaged);
    if (tree) {
      for (const std::string name : {"a", "b", "long/name", "name"}) static_cast<void>(content(**tree, name));
    } else {
      EXPECT_TRUE(tree.error().code() == ErrorCode::kCorruption || tree.error().code() == ErrorCode::kUnsupported);
    }
  }
}

class Archive : public ::testing::Test {
 protected:
  std::string write(const std::string& archive) {
    write_text(temp_ / "image.tar", archive);
    return (temp_ / "image.tar").string();
  }

  TempFolder temp_;
};

TEST_F(Archive, ReadsALayoutInATar) {
  LayoutBuilder builder(temp_ / "layout");
  const Descriptor image = builder.image("some layer");
  builder.tag(image, "1.0");
  builder.finish();
  ASSERT_TRUE(run("tar -C " + builder.folder().string() + " -cf " + (temp_ / "image.tar").string() + " ."));
  const std::string file = temp_ / "image.tar";
  for (const std::string& text : {"oci-archive:" + file, "oci-archive:" + file + ":1.0", "docker-archive:" + file}) {
    const auto source = open_source(text);
    ASSERT_OK(source);
    EXPECT_EQ((*source)->root().digest, image.digest);
    const auto selection = select(**source, {.platform = *parse_platform("linux/amd64")});
    ASSERT_OK(selection);
    EXPECT_EQ(blob_text(**source, selection->images[0].manifest.layers[0]), "some layer");
  }
  EXPECT_FAILS(open_source("oci-archive:" + file + ":2.0"), kNotFound, "2.0");
}

TEST_F(Archive, SaysWhatIsMissing) {
  EXPECT_FAILS(open_source("oci-archive:" + (temp_ / "none").string()), kNotFound, "does not exist");
  EXPECT_FAILS(open_source("oci-archive:" + temp_.path().string()), kCorruption, "not a regular file");
  EXPECT_FAILS(open_source("oci-archive:" + write(tar_of({tar_member("x", "y")}))), kCorruption, "without an image");
}

// The archive of an image with these layers, as older versions of docker save write it: name → content of the members.
std::string saved(const std::vector<std::string>& layers, const std::vector<Digest>& diff_ids, const std::string& tags,
                  std::vector<std::string> members) {
  const std::string config = config_json(diff_ids);
  const std::string name = Digest::of(as_bytes(config)).hex() + ".json";
  std::string list;
  for (const std::string& layer : layers) list += (list.empty() ? "\"" : ",\"") + layer + "\"";
  members.push_back(tar_member(name, config));
  members.push_back(tar_member(
      "manifest.json", R"([{"Config":")" + name + R"(","RepoTags":[)" + tags + R"(],"Layers":[)" + list + "]}]"));
  return tar_of(members);
}

TEST_F(Archive, ReadsWhatDockerSavedWithALayerLinkedToAnother) {
  const Digest one = Digest::of(as_bytes("layer one"));
  const std::string archive =
      saved({"1/layer.tar", "2/layer.tar"}, {one, one}, R"("example:1")",
            {tar_member("1/layer.tar", "layer one"), tar_member("2/layer.tar", "", '2', "../1/layer.tar")});
  const auto source = open_source("docker-archive:" + write(archive));
  ASSERT_OK(source);
  const auto selection = select(**source, {.platform = *parse_platform("linux/amd64")});
  ASSERT_OK(selection);
  const SelectedImage& image = selection->images[0];
  ASSERT_EQ(image.manifest.layers.size(), 2U);
  EXPECT_EQ(image.manifest.media_type, kDockerManifest);
  for (const Descriptor& layer : image.manifest.layers) {
    EXPECT_EQ(layer.media_type, kDockerLayer);
    EXPECT_EQ(layer.digest, one);
    EXPECT_EQ(blob_text(**source, layer), "layer one");
  }
}

TEST_F(Archive, HashesACompressedLayerSinceItsDiffIdIsNotItsDigest) {
  const std::string compressed = "\x1f\x8b\x08 pretend";
  const std::string archive = saved({"1.tar"}, {Digest::of(as_bytes("plain"))}, "", {tar_member("1.tar", compressed)});
  const auto source = open_source("docker-archive:" + write(archive));
  ASSERT_OK(source);
  const auto selection = select(**source, {.platform = *parse_platform("linux/amd64")});
  ASSERT_OK(selection);
  const Descriptor& layer = selection->images[0].manifest.layers[0];
  EXPECT_EQ(layer.digest, Digest::of(as_bytes(compressed)));
  EXPECT_EQ(layer.media_type, std::string(kDockerLayer) + ".gzip");
}

TEST_F(Archive, APlainLayerThatIsNotItsDiffIdFailsWhenItIsRead) {
  const std::string archive =
      saved({"1.tar"}, {Digest::of(as_bytes("expected"))}, "", {tar_member("1.tar", "tampered")});
  const auto source = open_source("docker-archive:" + write(archive));
  ASSERT_OK(source);
  const auto selection = select(**source, {.platform = *parse_platform("linux/amd64")});
  ASSERT_OK(selection);
  EXPECT_FAILS(read_document(**source, selection->images[0].manifest.layers[0], {1 << 20}), kCorruption,
               "has the content of");
}

TEST_F(Archive, SelectsASavedImageByNameOrId) {
  const std::string first = config_json({Digest::of(as_bytes("a"))});
  const std::string second = config_json({Digest::of(as_bytes("b"))});
  const std::string file = write(tar_of(
      {tar_member("a.tar", "a"), tar_member("b.tar", "b"), tar_member("1.json", first), tar_member("2.json", second),
       tar_member("manifest.json",
                  R"([{"Config":"1.json","RepoTags":["app:1","example.com/app:1"],"Layers":["a.tar"]},)"
                  R"({"Config":"2.json","RepoTags":["app:latest"],"Layers":["b.tar"]}])")}));
  const auto layer_of = [&](const std::string& tag) -> std::string {
    const auto source = open_source("docker-archive:" + file + tag);
    if (!source) return outcome(source);
    const auto selection = select(**source, {.platform = *parse_platform("linux/amd64")});
    return selection ? blob_text(**source, selection->images[0].manifest.layers[0]) : outcome(selection);
  };
  EXPECT_EQ(layer_of(":app:1"), "a");
  EXPECT_EQ(layer_of(":docker.io/library/app:1"), "a");
  EXPECT_EQ(layer_of(":example.com/app:1"), "a");
  EXPECT_EQ(layer_of(":app"), "b");
  EXPECT_EQ(layer_of("@" + Digest::of(as_bytes(second)).to_string()), "b");
  EXPECT_FAILS(open_source("docker-archive:" + file), kInvalidArgument, "2 images");
  const auto missing = open_source("docker-archive:" + file + ":app:3");
  EXPECT_FAILS(missing, kNotFound, "app:3");
  EXPECT_NE(missing.error().hint().find("example.com/app:1"), std::string::npos);
}

TEST_F(Archive, RefusesSavedImagesThatContradictThemselves) {
  const Digest id = Digest::of(as_bytes("a"));
  EXPECT_FAILS(open_source("docker-archive:" + write(saved({"1.tar", "1.tar"}, {id}, "", {tar_member("1.tar", "a")}))),
               kCorruption, "2 layers, its config has 1");
  EXPECT_FAILS(open_source("docker-archive:" + write(saved({"gone.tar"}, {id}, "", {}))), kNotFound, "gone.tar");
  EXPECT_FAILS(open_source("docker-archive:" + write(saved({"../../../etc/passwd"}, {id}, "", {}))), kNotFound,
               "layer 1");
  EXPECT_FAILS(open_source("docker-archive:" + write(tar_of({tar_member("manifest.json", "{}")}))), kCorruption,
               "not a list");
  EXPECT_FAILS(open_source("docker-archive:" + write(tar_of({tar_member("manifest.json", "[]")}))), kNotFound,
               "no image");
  EXPECT_FAILS(open_source("docker-archive:" + write(tar_of({tar_member("manifest.json", "[{}]")}))), kCorruption,
               "Config");
}

TEST_F(Archive, ReadsWhatSkopeoWrites) {
  if (!have_tool("skopeo")) GTEST_SKIP() << "skopeo is not installed";
  LayoutBuilder builder(temp_ / "layout");
  const std::string tar = tar_of({tar_member("etc/hostname", "dadi\n")});
  const Descriptor layer = builder.layer(tar);
  builder.tag(builder.manifest(builder.config({layer.digest}), {layer}), "1");
  builder.finish();
  const std::string from = "oci:" + builder.folder().string() + ":1";
  const std::string saved_file = (temp_ / "saved.tar").string();
  const std::string layout_file = (temp_ / "layout.tar").string();
  ASSERT_TRUE(run("skopeo --insecure-policy copy " + from + " docker-archive:" + saved_file + ":example/app:7"));
  ASSERT_TRUE(run("skopeo --insecure-policy copy " + from + " oci-archive:" + layout_file + ":seven"));
  for (const std::string& text : {"docker-archive:" + saved_file, "docker-archive:" + saved_file + ":example/app:7",
                                  "oci-archive:" + layout_file, "oci-archive:" + layout_file + ":seven"}) {
    const auto source = open_source(text);
    ASSERT_OK(source);
    const auto selection = select(**source, {.platform = *parse_platform("linux/amd64")});
    ASSERT_OK(selection);
    const SelectedImage& image = selection->images[0];
    EXPECT_EQ(image.config.diff_ids(), std::vector{layer.digest});
    ASSERT_EQ(image.manifest.layers.size(), 1U);
    // Saved archives hold plain layers; what a layout holds is up to skopeo.
    const Descriptor& copied = image.manifest.layers[0];
    const std::string bytes = blob_text(**source, copied);
    EXPECT_EQ(bytes, copied.digest == layer.digest ? tar : bytes);
    EXPECT_EQ(bytes.starts_with("\x1f\x8b"), copied.digest != layer.digest);
  }
}

}  // namespace
}  // namespace dadi::oci
