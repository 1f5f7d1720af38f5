#include "libconvert/oci/reference.h"
#include "tests/convert/oci_fixture.h"

namespace dadi::oci {
namespace {

using namespace test;
using Kind = Reference::Kind;

const std::string kDigestText = "sha256:" + std::string(64, 'a');

TEST(Reference, ReadsALayoutWithAndWithoutATag) {
  const auto plain = parse_reference("oci:some/folder");
  ASSERT_OK(plain);
  EXPECT_EQ(plain->kind, Kind::kLayout);
  EXPECT_EQ(plain->path(), "some/folder");
  EXPECT_EQ(plain->tag, "");
  const auto tagged = parse_reference("oci:some/folder:a/b:1.0");
  ASSERT_OK(tagged);
  EXPECT_EQ(tagged->path(), "some/folder");
  EXPECT_EQ(tagged->tag, "a/b:1.0");
}

TEST(Reference, TakesADigestInPlaceOfATagWithAndWithoutTheColon) {
  for (const std::string between : {":@", "@"}) {
    const auto reference = parse_reference("oci-archive:x.tar" + between + kDigestText);
    ASSERT_OK(reference);
    EXPECT_EQ(reference->kind, Kind::kOciArchive);
    EXPECT_EQ(reference->path(), "x.tar");
    EXPECT_EQ(reference->tag, "");
    EXPECT_EQ(reference->digest->to_string(), kDigestText);
  }
}

TEST(Reference, ReadsADockerArchiveWithAWholeName) {
  const auto reference = parse_reference("docker-archive:/tmp/a.tar:example/app:1.2");
  ASSERT_OK(reference);
  EXPECT_EQ(reference->kind, Kind::kDockerArchive);
  EXPECT_EQ(reference->path(), "/tmp/a.tar");
  EXPECT_EQ(reference->tag, "example/app:1.2");
}

TEST(Reference, ReadsListsOfLayersAndConfigs) {
  const auto layers = parse_reference("layers:a.obd,b/c.obd");
  ASSERT_OK(layers);
  EXPECT_EQ(layers->kind, Kind::kLayers);
  EXPECT_EQ(layers->files, (std::vector<fs::path>{"a.obd", "b/c.obd"}));
  const auto config = parse_reference("config:/x/config.v1.json");
  ASSERT_OK(config);
  EXPECT_EQ(config->kind, Kind::kConfig);
  EXPECT_EQ(config->path(), "/x/config.v1.json");
}

TEST(Reference, FillsInWhatRegistryNamesLeaveOut) {
  const std::map<std::string, std::string> full{
      {"nginx", "docker://docker.io/library/nginx:latest"},
      {"nginx:1.25", "docker://docker.io/library/nginx:1.25"},
      {"docker://nginx:1.25", "docker://docker.io/library/nginx:1.25"},
      {"user/app", "docker://docker.io/user/app:latest"},
      {"index.docker.io/library/nginx", "docker://docker.io/library/nginx:latest"},
      {"localhost/app", "docker://localhost/app:latest"},
      {"localhost:5000/app", "docker://localhost:5000/app:latest"},
      {"docker://example.com:5000/a/b_c/d-e:v1", "docker://example.com:5000/a/b_c/d-e:v1"},
      {"[::1]:5000/app:x", "docker://[::1]:5000/app:x"},
      {"example.com/app@" + kDigestText, "docker://example.com/app@" + kDigestText},
      {"example.com/app:1@" + kDigestText, "docker://example.com/app:1@" + kDigestText},
  };
  for (const auto& [text, expected] : full) {
    const auto reference = parse_reference(text);
    ASSERT_TRUE(reference) << text << ": " << reference.error().message();
    EXPECT_EQ(reference->kind, Kind::kRegistry);
    EXPECT_EQ(reference->to_string(), expected) << text;
  }
}

TEST(Reference, IsWrittenAsItIsRead) {
  for (const std::string text : {"oci:a", "oci:a:b", "oci-archive:a.tar:b", "docker-archive:a.tar:b:c", "layers:a,b,c",
                                 "config:a.json", "docker://docker.io/library/a:b"}) {
    const auto reference = parse_reference(text);
    ASSERT_OK(reference);
    EXPECT_EQ(reference->to_string(), text);
    const auto again = parse_reference(reference->to_string());
    ASSERT_OK(again);
    EXPECT_EQ(*again, *reference);
  }
  const auto digest = parse_reference("oci:a@" + kDigestText);
  ASSERT_OK(digest);
  EXPECT_EQ(*parse_reference(digest->to_string()), *digest);
}

TEST(Reference, RefusesWhatMakesNoSense) {
  for (const std::string text : {"",
                                 "oci:",
                                 "oci::tag",
                                 "oci-archive:",
                                 "layers:",
                                 "layers:a,,b",
                                 "layers:a,",
                                 "config:",
                                 "Nginx",
                                 "a//b",
                                 "a/",
                                 "nginx:",
                                 "nginx:bad tag",
                                 "-a",
                                 "a-",
                                 "a..b",
                                 "a___b",
                                 "a._b",
                                 "oci:a:b c",
                                 "oci:a:\"",
                                 "oci:a@sha256:12",
                                 "oci:a:b@sha256:12",
                                 "nginx@sha256:xyz",
                                 "exa mple.com/a",
                                 "docker://"}) {
    const auto reference = parse_reference(text);
    EXPECT_FALSE(reference) << "accepted: " << text;
    if (!reference) {
      EXPECT_EQ(reference.error().code(), ErrorCode::kInvalidArgument) << text;
    }
  }
  EXPECT_FAILS(parse_reference("oci:a:b@" + kDigestText), kInvalidArgument, "one of them");
  EXPECT_FAILS(parse_reference("x/" + std::string(300, 'a')), kInvalidArgument, "255");
  EXPECT_FAILS(parse_reference(std::string(10000, 'a')), kInvalidArgument, "10000 bytes");
  EXPECT_FAILS(parse_reference(std::string_view("oci:a\0b", 7)), kInvalidArgument, "NUL");
}

TEST(Reference, NamesTheWayAroundForOtherToolsReferences) {
  const auto reference = parse_reference("docker-daemon:nginx:1");
  EXPECT_FAILS(reference, kUnsupported, "docker-daemon:");
  EXPECT_NE(reference.error().hint().find("skopeo"), std::string::npos);
}

TEST(Reference, UnderstandsABarePathToALayoutOrAnArchive) {
  const TempFolder temp;
  LayoutBuilder builder(temp / "lay");
  builder.tag(builder.image("x"), "1.0");
  builder.finish();
  const std::string layout = temp / "lay";
  const auto folder = parse_reference(layout);
  ASSERT_OK(folder);
  EXPECT_TRUE(folder->guessed);
  EXPECT_EQ(folder->kind, Kind::kLayout);
  EXPECT_EQ(folder->to_string(), "oci:" + layout);
  const auto tagged = parse_reference(layout + ":1.0");
  ASSERT_OK(tagged);
  EXPECT_TRUE(tagged->guessed);
  EXPECT_EQ(tagged->tag, "1.0");

  write_text(temp / "l.tar", tar_of({tar_member("oci-layout", "{}")}));
  write_text(temp / "d.tar", tar_of({tar_member("manifest.json", "[]")}));
  const auto archive = parse_reference((temp / "l.tar").string() + ":x");
  ASSERT_OK(archive);
  EXPECT_EQ(archive->kind, Kind::kOciArchive);
  EXPECT_EQ(archive->tag, "x");
  const auto saved = parse_reference((temp / "d.tar").string());
  ASSERT_OK(saved);
  EXPECT_EQ(saved->kind, Kind::kDockerArchive);
  EXPECT_FALSE(parse_reference("oci:" + layout)->guessed);
}

TEST(Reference, SaysWhatABarePathIsNot) {
  const TempFolder temp;
  EXPECT_FAILS(parse_reference((temp / "none").string()), kNotFound, "no such file");
  write_text(temp / "text", "hello");
  EXPECT_FAILS(parse_reference((temp / "text").string()), kInvalidArgument, "neither");
  EXPECT_FAILS(parse_reference(temp.path().string()), kInvalidArgument, "neither");
  write_text(temp / "image.tgz", "\x1f\x8b\x08" + std::string(600, 'x'));
  EXPECT_FAILS(parse_reference((temp / "image.tgz").string()), kUnsupported, "compressed");
}

}  // namespace
}  // namespace dadi::oci
