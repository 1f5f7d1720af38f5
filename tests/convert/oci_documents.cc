// Manifests, indexes, configs, platforms and the JSON that they are made of.
#include <random>

#include "libconvert/oci/config.h"
#include "libconvert/oci/converted.h"
#include "libconvert/oci/json.h"
#include "tests/convert/oci_fixture.h"

namespace dadi::oci {
namespace {

using namespace test;

const Digest kA = Digest::of(as_bytes("a"));
const Digest kB = Digest::of(as_bytes("b"));

std::string descriptor_json(const std::string& more = "") {
  return R"({"mediaType":"m","digest":")" + kA.to_string() + R"(","size":1)" + more + "}";
}
std::string manifest_json(const std::string& more = "") {
  return R"({"schemaVersion":2,"config":)" + descriptor_json() + R"(,"layers":[])" + more + "}";
}
Result<Manifest> parse_manifest(const std::string& json, std::string_view type = "") {
  return Manifest::parse(as_bytes(json), type);
}

TEST(Json, RefusesDeepNestingWithoutRunningOutOfStack) {
  for (const std::string open : {"[", "{\"a\":"}) {
    std::string deep;
    for (int i = 0; i < 1'000'000; ++i) deep += open;
    EXPECT_FAILS(parse_json(as_bytes(deep)), kCorruption, "nested deeper");
  }
  const std::string allowed = std::string(64, '[') + std::string(64, ']');
  ASSERT_OK(parse_json(as_bytes(allowed)));
  EXPECT_FAILS(parse_json(as_bytes("[" + allowed + "]")), kCorruption, "nested deeper");
}

TEST(Json, DoesNotCountBracketsInStrings) {
  const std::string text = "{\"a\":\"" + std::string(1000, '[') + "\\\"" + std::string(1000, '{') + "\"}";
  ASSERT_OK(parse_json(as_bytes(text)));
}

std::string object_of(int members) {
  std::string object = "{";
  for (int i = 0; i < members; ++i) object += "\"" + std::to_string(i) + "\":1,";
  return object + "\"end\":1}";
}

TEST(Json, RefusesAnObjectWhoseMembersWouldTakeForever) {
  EXPECT_FAILS(parse_json(as_bytes(object_of(1'000'000))), kCorruption, "too many members");
}

TEST(Json, TakesAnObjectOfThreeThousandMembers) {
  const auto json = parse_json(as_bytes(object_of(3000)));
  ASSERT_OK(json);
  EXPECT_EQ(json->size(), 3001U);
}

TEST(Json, OfDuplicateMembersTheLastOneCounts) {
  const auto json = parse_json(as_bytes(R"({"a":1,"b":2,"a":3})"));
  ASSERT_OK(json);
  EXPECT_EQ(dump_json(*json), R"({"a":3,"b":2})");
}

TEST(Json, RefusesWhatIsNotJson) {
  for (const std::string text : {"", "nul", "{", "{\"a\"}", "[1,]", "\"\xff\"", "]", "1e999", "{} {}", "]]]]["})
    EXPECT_FAILS(parse_json(as_bytes(text)), kCorruption, "");
}

TEST(Manifest, IsWrittenCompactlyInTheOrderOfGosFields) {
  const Manifest manifest{
      .media_type = std::string(kDockerManifest),
      .artifact_type = {},
      .config = {.media_type = std::string(kDockerConfig), .digest = kA, .size = {7}},
      .layers = {block_layer_descriptor(kB, {1024}, Family::kDocker)},
      .subject = {},
      .annotations = {{"z", "1"}, {"a", "2"}},
  };
  EXPECT_EQ(
      manifest.to_json(),
      R"({"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":)"
      R"({"mediaType":"application/vnd.docker.container.image.v1+json","digest":")" +
          kA.to_string() +
          R"(","size":7},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar","digest":")" +
          kB.to_string() + R"(","size":1024,"annotations":{"containerd.io/snapshot/overlaybd/blob-digest":")" +
          kB.to_string() +
          R"(","containerd.io/snapshot/overlaybd/blob-size":"1024","containerd.io/snapshot/overlaybd/version":"0.1.0"}}],)"
          R"("annotations":{"a":"2","z":"1"}})");
}

TEST(Manifest, ReadsWhatItWrites) {
  Manifest manifest{
      .media_type = std::string(kOciManifest),
      .artifact_type = "application/x",
      .config = {.media_type = std::string(kOciConfig), .digest = kA, .size = {7}},
      .layers = {{.media_type = "x", .digest = kB, .size = {1}, .urls = {"u"}, .annotations = {{"k", "v"}}}},
      .subject = Descriptor{.media_type = "s", .digest = kB, .size = {2}},
      .annotations = {{"k", "v"}}};
  manifest.layers[0].platform = Platform{"linux", "arm", "v7", "1", {"f"}};
  manifest.layers[0].artifact_type = "t";
  const auto again = parse_manifest(manifest.to_json(), kOciManifest);
  ASSERT_OK(again);
  EXPECT_EQ(*again, manifest);

  const Index index{.media_type = std::string(kOciIndex),
                    .artifact_type = "a",
                    .manifests = manifest.layers,
                    .subject = manifest.subject,
                    .annotations = {{"k", "v"}}};
  const std::string json = index.to_json();
  const auto index_again = Index::parse(as_bytes(json), kOciIndex);
  ASSERT_OK(index_again);
  EXPECT_EQ(*index_again, index);
}

TEST(Manifest, TakesItsTypeFromTheDescriptorWhenItHasNone) {
  EXPECT_EQ(parse_manifest(manifest_json(), kDockerManifest)->media_type, kDockerManifest);
  EXPECT_EQ(parse_manifest(manifest_json())->media_type, kOciManifest);
}

TEST(Manifest, RefusesATypeThatContradictsTheDescriptor) {
  const std::string docker = manifest_json(R"(,"mediaType":")" + std::string(kDockerManifest) + "\"");
  EXPECT_FAILS(parse_manifest(docker, kOciManifest), kCorruption, "calls itself");
  EXPECT_FAILS(Index::parse(as_bytes(docker), ""), kCorruption, "not an index's");
}

TEST(Manifest, RefusesADocumentThatReadsAsTwoThings) {
  EXPECT_FAILS(parse_manifest(manifest_json(R"(,"manifests":[])")), kCorruption, "manifests");
  const std::string both = R"({"schemaVersion":2,"manifests":[],"layers":[]})";
  EXPECT_FAILS(Index::parse(as_bytes(both), ""), kCorruption, "layers");
}

TEST(Manifest, RefusesSchemaOneAsUnsupported) {
  const std::string one = R"({"schemaVersion":1,"name":"x","fsLayers":[{"blobSum":"x"}]})";
  EXPECT_FAILS(parse_manifest(one), kUnsupported, "schema 1");
  EXPECT_FAILS(parse_manifest(R"({"schemaVersion":3})"), kUnsupported, "schema version 3");
}

TEST(Manifest, NamesTheFieldThatIsWrong) {
  const std::map<std::string, std::string> wrong{
      {"[]", "not a JSON object"},
      {R"({"schemaVersion":"2"})", "schemaVersion"},
      {R"({"schemaVersion":2})", "config"},
      {R"({"schemaVersion":2,"config":[]})", "config"},
      {R"({"schemaVersion":2,"config":)" + descriptor_json() + R"(,"layers":{}})", "layers"},
      {R"({"schemaVersion":2,"config":)" + descriptor_json() + R"(,"layers":[1]})", "layers[0]"},
      {manifest_json(R"(,"annotations":{"a":1})"), "annotations"},
      {manifest_json(R"(,"annotations":[])"), "annotations"},
      {manifest_json(R"(,"subject":{})"), "subject"},
      {manifest_json(R"(,"mediaType":5)"), "mediaType"},
      {R"({"schemaVersion":2,"config":{"digest":"sha256:00","size":1}})", "config: \"sha256:00\" is not a digest"},
      {R"({"schemaVersion":2,"config":{"digest":"../../etc/passwd","size":1}})", "is not a digest"},
      {R"({"schemaVersion":2,"config":{"digest":")" + kA.to_string() + R"(","size":-1}})", "size"},
      {R"({"schemaVersion":2,"config":{"digest":")" + kA.to_string() + R"(","size":1.5}})", "size"},
      {R"({"schemaVersion":2,"config":{"digest":")" + kA.to_string() + R"(","size":18446744073709551615}})", "size"},
      {R"({"schemaVersion":2,"config":{"digest":")" + kA.to_string() + R"(","size":1,"urls":"x"}})", "urls"},
      {R"({"schemaVersion":2,"config":{"digest":")" + kA.to_string() + R"(","size":1,"platform":"x"}})", "platform"},
  };
  for (const auto& [json, text] : wrong) EXPECT_FAILS(parse_manifest(json), kCorruption, text);
}

TEST(Documents, EndWellOnAnyDamage) {
  const std::string manifest =
      manifest_json(R"(,"mediaType":"x","subject":)" + descriptor_json() + R"(,"annotations":{"a":"b"})");
  const std::string index = R"({"schemaVersion":2,"manifests":[)" +
                            descriptor_json(R"(,"platform":{"os":"linux","architecture":"arm","os.features":["x"]})") +
                            "]}";
  const std::string config = config_json({kA, kB});
  std::mt19937 random(1);
  const auto damaged = [&](std::string text) {
    for (int flips = 0; flips < 2; ++flips) {
      // What changes the shape of a document is likelier than other bytes.
      constexpr std::string_view kTelling = "{}[]\",:0-1enull\\";
      text[random() % text.size()] =
          random() % 4 != 0 ? kTelling[random() % kTelling.size()] : static_cast<char>(random());
    }
    return text;
  };
  const auto expect_clear = [](const auto& result) {
    if (!result) {
      EXPECT_TRUE(result.error().code() == ErrorCode::kCorruption || result.error().code() == ErrorCode::kUnsupported)
          << result.error().message();
    }
  };
  for (int i = 0; i < 5000; ++i) {
    expect_clear(parse_manifest(damaged(manifest)));
    const std::string odd_index = damaged(index);
    expect_clear(Index::parse(as_bytes(odd_index), ""));
    const std::string odd_config = damaged(config);
    const auto parsed = ImageConfig::parse(as_bytes(odd_config));
    expect_clear(parsed);
    if (parsed) {
      EXPECT_NE(parsed->with_diff_ids({}).find("\"diff_ids\":[]"), std::string::npos);
    }
  }
}

TEST(Manifest, RefusesOtherDigestAlgorithmsAsUnsupported) {
  const std::string json =
      R"({"schemaVersion":2,"config":{"digest":"sha512:)" + std::string(128, 'a') + R"(","size":1}})";
  EXPECT_FAILS(parse_manifest(json), kUnsupported, "algorithm");
}

TEST(ImageConfig, KeepsEveryOtherFieldAndItsOrderWhenDiffIdsAreReplaced) {
  const std::string json = R"({"zeta": 1, "os":"linux","architecture":"arm64","variant":"v8", "docker_version":"x",
    "rootfs":{"diff_ids":[")" +
                           kA.to_string() + R"("],"type":"layers","base":"b"},"config":{"Labels":{"é":"<&>"}},
    "history":[{"created_by":"x"}], "alpha":null})";
  const auto config = ImageConfig::parse(as_bytes(json));
  ASSERT_OK(config);
  EXPECT_EQ(config->platform().to_string(), "linux/arm64/v8");
  EXPECT_EQ(config->diff_ids(), std::vector{kA});
  EXPECT_EQ(
      config->with_diff_ids(std::vector{kB, kA}),
      R"({"zeta":1,"os":"linux","architecture":"arm64","variant":"v8","docker_version":"x","rootfs":{"diff_ids":[")" +
          kB.to_string() + R"(",")" + kA.to_string() +
          R"("],"type":"layers","base":"b"},"config":{"Labels":{"é":"<&>"}},"history":[{"created_by":"x"}],"alpha":null})");
}

TEST(ImageConfig, RefusesWhatIsNotAConfig) {
  const std::map<std::string, std::string> wrong{
      {R"({})", "rootfs"},
      {R"({"rootfs":{"type":"turtles","diff_ids":[]}})", "turtles"},
      {R"({"rootfs":{"type":"layers","diff_ids":"x"}})", "diff_ids"},
      {R"({"rootfs":{"type":"layers","diff_ids":[1]}})", "diff_ids"},
      {R"({"rootfs":{"type":"layers","diff_ids":["md5:1"]}})", "diff_ids[0]"},
      {R"({"os":1,"rootfs":{"type":"layers"}})", "os"},
      {R"({"history":{},"rootfs":{"type":"layers"}})", "history"},
  };
  for (const auto& [json, text] : wrong) EXPECT_FAILS(ImageConfig::parse(as_bytes(json)), kCorruption, text);
}

TEST(ChainIds, FollowTheSpecification) {
  const auto chain = chain_ids(std::vector{kA, kB, kA});
  ASSERT_EQ(chain.size(), 3U);
  EXPECT_EQ(chain[0], kA);
  // printf 'sha256:ca97…bb sha256:3e23…0d' | sha256sum
  EXPECT_EQ(chain[1], Digest::of(as_bytes(kA.to_string() + " " + kB.to_string())));
  EXPECT_EQ(chain[2], Digest::of(as_bytes(chain[1].to_string() + " " + kA.to_string())));
  EXPECT_TRUE(chain_ids({}).empty());
}

TEST(Platform, UnderstandsTheUsualNames) {
  const std::map<std::string, std::string> names{
      {"linux/amd64", "linux/amd64"},     {"Linux/x86_64", "linux/amd64"},   {"aarch64", "linux/arm64"},
      {"linux/arm64/v8", "linux/arm64"},  {"linux/arm", "linux/arm/v7"},     {"linux/armhf", "linux/arm/v7"},
      {"linux/arm/6", "linux/arm/v6"},    {"linux/amd64/v1", "linux/amd64"}, {"linux/amd64/v3", "linux/amd64/v3"},
      {"windows/amd64", "windows/amd64"}, {"linux/i386", "linux/386"},
  };
  for (const auto& [text, expected] : names) {
    const auto platform = parse_platform(text);
    ASSERT_OK(platform);
    EXPECT_EQ(platform->to_string(), expected) << text;
  }
  for (const std::string text : {"", "/", "linux/", "linux//v8", "a/b/c/d", "linux/amd 64"})
    EXPECT_FAILS(parse_platform(text), kInvalidArgument, "not a platform");
}

TEST(Platform, MatchesOlderVariantsOfTheSameArchitectureOnly) {
  const auto rank = [](const std::string& wanted, const std::string& candidate) {
    return match_rank(*parse_platform(wanted), *parse_platform(candidate));
  };
  EXPECT_EQ(rank("linux/arm64", "linux/arm64/v8"), 0U);
  EXPECT_EQ(rank("linux/amd64", "linux/amd64"), 0U);
  EXPECT_EQ(rank("linux/arm/v7", "linux/arm"), 0U);
  EXPECT_LT(rank("linux/arm/v7", "linux/arm/v6"), rank("linux/arm/v7", "linux/arm/v5"));
  EXPECT_LT(rank("linux/amd64/v3", "linux/amd64/v2"), rank("linux/amd64/v3", "linux/amd64"));
  EXPECT_FALSE(rank("linux/arm/v6", "linux/arm/v7"));
  EXPECT_FALSE(rank("linux/amd64", "linux/amd64/v3"));
  EXPECT_FALSE(rank("linux/arm64", "linux/arm/v7"));
  EXPECT_FALSE(rank("linux/amd64", "linux/386"));
  EXPECT_FALSE(rank("linux/amd64", "windows/amd64"));
  EXPECT_FALSE(rank("linux/riscv64", "linux/riscv64/x"));
}

TEST(MediaTypes, TellLayersApart) {
  EXPECT_EQ(parse_layer_type("application/vnd.oci.image.layer.v1.tar")->compression, LayerCompression::kNone);
  EXPECT_EQ(parse_layer_type("application/vnd.oci.image.layer.v1.tar+gzip")->compression, LayerCompression::kGzip);
  EXPECT_EQ(parse_layer_type("application/vnd.oci.image.layer.v1.tar+zstd")->compression, LayerCompression::kZstd);
  EXPECT_EQ(parse_layer_type("application/vnd.docker.image.rootfs.diff.tar.gzip")->compression,
            LayerCompression::kGzip);
  EXPECT_TRUE(parse_layer_type("application/vnd.oci.image.layer.v1.tar+gzip+encrypted")->encrypted);
  EXPECT_TRUE(parse_layer_type("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")->foreign);
  EXPECT_TRUE(parse_layer_type("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd")->foreign);
  EXPECT_FALSE(parse_layer_type("application/vnd.oci.image.layer.v1.tar+lzma"));
  EXPECT_FALSE(parse_layer_type("application/vnd.oci.image.layer.v1.tarball"));
  EXPECT_FALSE(parse_layer_type("text/plain"));
}

TEST(Converted, IsToldByAnnotations) {
  Descriptor layer = block_layer_descriptor(kA, {512}, Family::kOci);
  EXPECT_EQ(form_of(layer), LayerForm::kBlock);
  EXPECT_EQ(layer.annotations.size(), 3U);
  Manifest manifest{.media_type = std::string(kOciManifest),
                    .artifact_type = {},
                    .config = {.media_type = "", .digest = kA, .size = {1}},
                    .layers = {layer},
                    .subject = {},
                    .annotations = {}};
  EXPECT_TRUE(is_converted(manifest));
  layer.annotations[kTurboTargetDigest] = kB.to_string();
  EXPECT_EQ(form_of(layer), LayerForm::kTurbo);
  layer.annotations[kAccelerationLayer] = "yes";
  EXPECT_EQ(form_of(layer), LayerForm::kAcceleration);
  layer.annotations.clear();
  EXPECT_EQ(form_of(layer), LayerForm::kArchive);
  manifest.layers.push_back(layer);
  EXPECT_FALSE(is_converted(manifest));
  manifest.layers.clear();
  EXPECT_FALSE(is_converted(manifest));
}

}  // namespace
}  // namespace dadi::oci
