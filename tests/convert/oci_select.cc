// Choosing an image for a platform, and refusing what is none.
#include "libconvert/oci/image.h"
#include "tests/convert/oci_fixture.h"

namespace dadi::oci {
namespace {

using namespace test;

class Select : public ::testing::Test {
 protected:
  Result<Selection> selected(const Descriptor& root, const SelectOptions& options = {}) {
    builder_.tag(root, "t" + std::to_string(++tags_));
    builder_.finish();
    auto source = open_source("oci:" + builder_.folder().string() + ":t" + std::to_string(tags_));
    if (!source) return std::move(source).error();
    return select(**source, options);
  }
  static SelectOptions wanting(const std::string& platform) { return {.platform = *parse_platform(platform)}; }

  // An image of `layer`, whose descriptor is used as it is given.
  Descriptor image_of(const Descriptor& layer) { return builder_.manifest(builder_.config({layer.digest}), {layer}); }

  TempFolder temp_;
  LayoutBuilder builder_{temp_ / "layout"};
  int tags_ = 0;
};

TEST_F(Select, TakesTheImageOfTheWantedPlatform) {
  const Descriptor amd = for_platform(builder_.image("amd64"), "linux/amd64");
  const Descriptor arm = for_platform(builder_.image("arm64", "arm64", "v8"), "linux/arm64/v8");
  const Descriptor v6 = for_platform(builder_.image("v6", "arm", "v6"), "linux/arm/v6");
  const Descriptor v7 = for_platform(builder_.image("v7", "arm", "v7"), "linux/arm/v7");
  const Descriptor index = builder_.index({amd, arm, v6, v7});
  const std::map<std::string, Digest> expected{{"linux/amd64", amd.digest}, {"linux/arm64", arm.digest},
                                               {"linux/arm/v6", v6.digest}, {"linux/arm", v7.digest},
                                               {"linux/arm/v7", v7.digest}, {"linux/amd64/v2", amd.digest}};
  for (const auto& [platform, digest] : expected) {
    const auto selection = selected(index, wanting(platform));
    ASSERT_OK(selection);
    ASSERT_EQ(selection->images.size(), 1U);
    EXPECT_EQ(selection->images[0].descriptor.digest, digest) << platform;
    EXPECT_TRUE(selection->index.has_value());
  }
}

TEST_F(Select, ByDefaultTakesTheImageOfThisMachine) {
  const Platform host = host_platform();
  const Descriptor own = for_platform(builder_.image("own", host.architecture, host.variant), host.to_string());
  const Descriptor other = for_platform(builder_.image("other", "s390x"), "linux/s390x");
  const auto selection = selected(builder_.index({other, own}));
  ASSERT_OK(selection);
  EXPECT_EQ(selection->images[0].descriptor.digest, own.digest);
}

TEST_F(Select, ListsThePlatformsWhenNoneMatches) {
  const Descriptor index = builder_.index(
      {for_platform(builder_.image("a"), "linux/amd64"), for_platform(builder_.image("b", "s390x"), "linux/s390x")});
  const auto selection = selected(index, wanting("linux/riscv64"));
  EXPECT_FAILS(selection, kNotFound, "linux/riscv64");
  EXPECT_EQ(selection.error().hint(), "the platforms there: linux/amd64, linux/s390x");
}

TEST_F(Select, LeavesAttestationsOutAndSaysSo) {
  const Descriptor real = for_platform(builder_.image("real"), "linux/amd64");
  Descriptor attestation = builder_.image("attestation", "unknown", "", "unknown");
  attestation.platform =
      Platform{.os = "unknown", .architecture = "unknown", .variant = {}, .os_version = {}, .os_features = {}};
  Descriptor annotated = for_platform(builder_.image("annotated"), "linux/amd64");
  annotated.annotations = {{kReferenceType, kAttestationManifest}};
  const auto selection = selected(builder_.index({annotated, attestation, real}), {.platform = {}, .all = true});
  ASSERT_OK(selection);
  ASSERT_EQ(selection->images.size(), 1U);
  EXPECT_EQ(selection->images[0].descriptor.digest, real.digest);
  EXPECT_EQ(selection->notes, std::vector<std::string>{"left out 2 attestation manifests"});
}

TEST_F(Select, DescendsIntoNestedIndexes) {
  const Descriptor a = for_platform(builder_.image("a"), "linux/amd64");
  const Descriptor b = for_platform(builder_.image("b", "arm64"), "linux/arm64");
  const Descriptor index = builder_.index({builder_.index({builder_.index({b})}), a});
  const auto one = selected(index, wanting("linux/arm64"));
  ASSERT_OK(one);
  EXPECT_EQ(one->images[0].descriptor.digest, b.digest);
  const auto all = selected(index, {.platform = {}, .all = true});
  ASSERT_OK(all);
  ASSERT_EQ(all->images.size(), 2U);
  EXPECT_EQ(all->images[0].descriptor, b);
  EXPECT_EQ(all->images[1].descriptor, a);
}

TEST_F(Select, RefusesIndexesWithoutEnd) {
  Descriptor deep = builder_.image("x");
  for (int i = 0; i < 20; ++i) deep = builder_.index({deep});
  EXPECT_FAILS(selected(deep), kUnsupported, "nested");
  // Each of four levels names the level below thirty times: a million paths in a few kilobytes.
  Descriptor wide = for_platform(builder_.image("x"), "linux/amd64");
  for (int i = 0; i < 4; ++i) wide = builder_.index(std::vector(30, wide));
  EXPECT_FAILS(selected(wide), kUnsupported, "more than");
}

TEST_F(Select, RefusesManyImagesThatShareOneHugeConfig) {
  const Descriptor layer = builder_.layer("x");
  std::string text = config_json({layer.digest});
  text.insert(1, "\"padding\":\"" + std::string(15 << 20, 'x') + "\",");
  const Descriptor config = builder_.blob(text, kOciConfig);
  std::vector<Descriptor> manifests;
  for (int i = 0; i < 5; ++i) manifests.push_back(builder_.manifest(config, {layer}, {{"number", std::to_string(i)}}));
  EXPECT_FAILS(selected(builder_.index(manifests), {.platform = {}, .all = true}), kExhausted, "67108864 bytes");
}

TEST_F(Select, ReadsTheConfigWhenTheIndexDoesNotTellThePlatform) {
  const Descriptor a = builder_.image("a", "s390x");
  const Descriptor b = builder_.image("b", "arm64", "v8");
  const auto selection = selected(builder_.index({a, b}), wanting("linux/arm64"));
  ASSERT_OK(selection);
  EXPECT_EQ(selection->images[0].descriptor.digest, b.digest);
  EXPECT_EQ(selection->images[0].platform.to_string(), "linux/arm64/v8");
}

TEST_F(Select, TakesASingleImageOfAnotherPlatformWithANote) {
  const std::string other = host_platform().architecture == "s390x" ? "amd64" : "s390x";
  const Descriptor image = builder_.image("x", other);
  const auto by_default = selected(image);
  ASSERT_OK(by_default);
  EXPECT_FALSE(by_default->index);
  ASSERT_EQ(by_default->notes.size(), 1U);
  EXPECT_NE(by_default->notes[0].find(other), std::string::npos);
  const auto asked = selected(image, wanting("linux/riscv64"));
  EXPECT_FAILS(asked, kNotFound, "linux/riscv64");
  EXPECT_NE(asked.error().hint().find(other), std::string::npos);
}

TEST_F(Select, AllPlatformsLeavesOutOtherSystemsAndArtifacts) {
  const Descriptor linux_image = for_platform(builder_.image("l"), "linux/amd64");
  const Descriptor windows = for_platform(builder_.image("w", "amd64", "", "windows"), "windows/amd64");
  const Descriptor artifact = builder_.manifest(builder_.blob("{}", "application/vnd.oci.empty.v1+json"), {});
  const Descriptor odd = builder_.blob("x", "text/plain");
  const Descriptor index = builder_.index({windows, artifact, odd, linux_image});
  const auto selection = selected(index, {.platform = {}, .all = true});
  ASSERT_OK(selection);
  ASSERT_EQ(selection->images.size(), 1U);
  EXPECT_EQ(selection->images[0].descriptor.digest, linux_image.digest);
  EXPECT_EQ(selection->notes.size(), 3U);
  const auto everything = selected(index, {.platform = {}, .all = true, .for_conversion = false});
  ASSERT_OK(everything);
  EXPECT_EQ(everything->images.size(), 2U);
  EXPECT_FAILS(selected(index, wanting("windows/amd64")), kUnsupported, "only Linux's");
}

TEST_F(Select, RefusesLayersThatCannotBeConvertedAndNamesThem) {
  const std::map<std::string, std::string> refused{
      {"application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "encrypted"},
      {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "foreign"},
      {"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "foreign"},
      {"application/vnd.example.chart", "not a layer of files"},
  };
  for (const auto& [type, reason] : refused) {
    const Descriptor layer = builder_.blob("x", type);
    const Descriptor image = image_of(layer);
    const auto selection = selected(image);
    EXPECT_FAILS(selection, kUnsupported, "layer 1 (" + layer.digest.to_string() + ")");
    EXPECT_FAILS(selection, kUnsupported, reason);
    ASSERT_OK(selected(image, {.platform = {}, .all = false, .for_conversion = false}));
  }
  Descriptor elsewhere = builder_.layer("x");
  elsewhere.urls = {"https://example.com/x"};
  EXPECT_FAILS(selected(image_of(elsewhere)), kUnsupported, "foreign");
  EXPECT_FAILS(selected(builder_.manifest(builder_.config({}), {})), kUnsupported, "without layers");
}

TEST_F(Select, RefusesWhatIsNoImage) {
  EXPECT_FAILS(selected(builder_.manifest(builder_.blob("{}", "application/vnd.oci.empty.v1+json"), {})), kUnsupported,
               "artifact");
  EXPECT_FAILS(selected(builder_.blob("x", "text/plain")), kUnsupported, "text/plain");
  EXPECT_FAILS(
      selected(builder_.blob(R"({"schemaVersion":1})", "application/vnd.docker.distribution.manifest.v1+prettyjws")),
      kUnsupported, "schema 1");
  EXPECT_FAILS(selected(builder_.blob(R"({"schemaVersion":1,"fsLayers":[]})", "")), kUnsupported, "schema 1");
}

TEST_F(Select, WorksOutTheKindOfARootThatDoesNotSay) {
  Descriptor image = builder_.image("x");
  image.media_type.clear();
  ASSERT_OK(selected(image));
  Descriptor index = builder_.index({for_platform(builder_.image("x"), "linux/amd64")});
  index.media_type.clear();
  ASSERT_OK(selected(index, wanting("linux/amd64")));
}

TEST_F(Select, RefusesDocumentsThatAreNotWhatTheirDescriptorsSay) {
  const Descriptor layer = builder_.layer("x");
  EXPECT_FAILS(selected(builder_.manifest(builder_.config({layer.digest, layer.digest}), {layer})), kCorruption,
               "1 layers, the config 2 diff ids");

  Descriptor config = builder_.config({layer.digest});
  config.size = {config.size.value + 1};
  EXPECT_FAILS(selected(builder_.manifest(config, {layer})), kCorruption, "its descriptor says");

  const Descriptor damaged = builder_.blob(config_json({layer.digest}, "linux", "amd64", "v1"), kOciConfig);
  std::string text = read_text(builder_.path_of(damaged.digest));
  text[text.find("Cmd")] = 'X';
  write_text(builder_.path_of(damaged.digest), text);
  EXPECT_FAILS(selected(builder_.manifest(damaged, {layer})), kCorruption, damaged.digest.to_string());

  Descriptor gone = damaged;
  gone.digest = Digest::of(as_bytes("gone"));
  EXPECT_FAILS(selected(builder_.manifest(gone, {layer})), kNotFound, "config: blob " + gone.digest.to_string());
}

TEST_F(Select, RefusesAConfigOfMoreThan16MiB) {
  const Descriptor layer = builder_.layer("x");
  const Descriptor config = builder_.blob(std::string((16 << 20) + 1, ' '), kOciConfig);
  EXPECT_FAILS(selected(builder_.manifest(config, {layer})), kUnsupported, "at most");
}

}  // namespace
}  // namespace dadi::oci
