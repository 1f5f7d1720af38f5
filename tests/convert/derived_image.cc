// Images made of another one's layers, and changes of configs.
#include "libconvert/pipeline/derived_image.h"

#include "libconvert/oci/acceleration_layer.h"
#include "libconvert/oci/converted.h"
#include "libconvert/oci/json.h"
#include "tests/convert/oci_fixture.h"

namespace dadi::pipeline {
namespace {

using namespace oci::test;
using oci::Json;

class Told final : public CopyObserver {
 public:
  void blob_started(const oci::Descriptor& blob) override { started.push_back(blob.digest); }
  void blob_read(Bytes /*done*/) override {}
  void blob_finished() override {}
  void note(const std::string& text) override { notes += text + "\n"; }

  std::vector<Digest> started;
  std::string notes;
};

// A converted image of three block layers, with a trace on top if there is to be one.
class Derived : public ::testing::Test {
 protected:
  void make_base(bool with_trace, const std::string& history) {
    LayoutBuilder builder(temp_ / "base");
    std::vector<oci::Descriptor> layers;
    std::vector<Digest> diff_ids;
    for (const char* content : {"one", "two", "three"})
      layers.push_back(
          oci::block_layer_descriptor(builder.layer(content).digest, {strlen(content)}, oci::Family::kOci));
    if (with_trace) {
      const oci::Descriptor blob = builder.layer("trace");
      layers.push_back(oci::acceleration_layer_descriptor({blob.digest, blob.size}));
    }
    for (const oci::Descriptor& layer : layers) diff_ids.push_back(layer.digest);
    std::string config = config_json(diff_ids);
    config.replace(config.find("\"history\":[]"), 12, "\"history\":" + history);
    oci::Manifest manifest{.media_type = std::string(oci::kOciManifest),
                           .artifact_type = oci::kNativeArtifactType,
                           .config = builder.blob(config, oci::kOciConfig),
                           .layers = layers,
                           .subject = builder.blob("the ordinary image", oci::kOciManifest),
                           .annotations = {{"k", "v"}}};
    builder.tag(builder.blob(manifest.to_json(), oci::kOciManifest), "latest");
    builder.finish();
  }

  // Derives an image as oci:derived, and gives the manifest.
  oci::SelectedImage derive(const Derivation& derivation) {
    const auto source = must_open("base");
    const auto base = select_of(*source);
    const auto destination = *oci::open_destination(reference("derived"));
    told_ = {};
    const auto derived = derive_image(*source, base, *destination, derivation, told_, {});
    EXPECT_TRUE(derived) << derived.error().message();
    counts_ = derived->copied;
    EXPECT_TRUE(destination->commit(derived->manifest));
    return select_of(*must_open("derived"));
  }

  oci::Reference reference(const std::string& name) const {
    return *oci::parse_reference("oci:" + (temp_ / name).string());
  }
  std::unique_ptr<oci::ImageSource> must_open(const std::string& name) const {
    auto source = oci::open_source(reference(name));
    EXPECT_TRUE(source) << source.error().message();
    return std::move(*source);
  }
  static oci::SelectedImage select_of(const oci::ImageSource& source) {
    auto selection = oci::select(source, {.platform = *oci::parse_platform("linux/amd64"), .for_conversion = false});
    EXPECT_TRUE(selection) << selection.error().message();
    return std::move(selection->images.front());
  }
  static Json json_of(const oci::SelectedImage& image) { return *oci::parse_json(as_bytes(image.config.json())); }

  static AddedLayer layer(char name) {
    return {
        .descriptor = oci::block_layer_descriptor(Digest::of(as_bytes(std::string(1, name))), {1}, oci::Family::kOci),
        .created_by = std::string("made ") + name};
  }

  TempFolder temp_;
  Told told_;
  CopyCounts counts_;
};

std::vector<std::string> created_by(const Json& config) {
  std::vector<std::string> all;
  for (const Json& entry : config["history"]) all.push_back(entry["created_by"]);
  return all;
}

using Words = std::vector<std::string>;
constexpr auto kHistory =
    R"([{"created_by":"1"},{"created_by":"env","empty_layer":true},{"created_by":"2"},{"created_by":"3"}])";

TEST_F(Derived, LayersComeOnTopOfTheBase) {
  make_base(false, kHistory);
  Derivation derivation{.added = {layer('a'), layer('b')}};
  derivation.added[1].comment = "why";
  const auto image = derive(derivation);
  ASSERT_EQ(image.manifest.layers.size(), 5U);
  EXPECT_EQ(image.manifest.layers[3], derivation.added[0].descriptor);
  EXPECT_EQ(image.config.diff_ids()[4], derivation.added[1].descriptor.digest);
  EXPECT_EQ(image.manifest.annotations.at("k"), "v");
  const Json config = json_of(image);
  EXPECT_EQ(created_by(config), (Words{"1", "env", "2", "3", "made a", "made b"}));
  EXPECT_EQ(config["history"][5].dump(), R"({"created":"2024-01-01T00:00:00Z","created_by":"made b","comment":"why"})");
  EXPECT_EQ(config["config"].dump(), R"({"Cmd":["/bin/sh"]})");
  EXPECT_EQ(counts_.blobs_copied, 3U);
  EXPECT_EQ(told_.notes, "");
}

TEST_F(Derived, BlobsThatAreThereAreNotReadAgain) {
  make_base(false, kHistory);
  derive({.layers_kept = 2, .added = {layer('a')}});
  EXPECT_EQ(told_.started.size(), 2U);
  derive({.added = {layer('b')}});
  EXPECT_EQ(told_.started.size(), 1U);
  EXPECT_EQ(counts_.blobs_there, 2U);
}

TEST_F(Derived, WhatHoldsSomethingElseIsNoOtherFormOfAnImage) {
  make_base(false, kHistory);
  EXPECT_FALSE(derive({.added = {layer('a')}}).manifest.subject);
  EXPECT_FALSE(derive({.layers_kept = 1}).manifest.subject);
  oci::ConfigChanges changes;
  changes.user = "nobody";
  const auto changed = derive({.config = changes});
  EXPECT_FALSE(changed.manifest.subject);
  EXPECT_EQ(changed.manifest.artifact_type, "");
  EXPECT_TRUE(derive({}).manifest.subject);
}

TEST_F(Derived, ATraceGoesWithTheLayersThatItWasOf) {
  make_base(true, R"([{"created_by":"1"},{"created_by":"2"},{"created_by":"3"},{"created_by":"trace"}])");
  const auto committed = derive({.added = {layer('a')}});
  EXPECT_EQ(committed.manifest.layers.size(), 4U);
  EXPECT_EQ(created_by(json_of(committed)), (Words{"1", "2", "3", "made a"}));
  EXPECT_NE(told_.notes.find("trace"), std::string::npos);
  EXPECT_EQ(told_.started.size(), 3U);
  oci::ConfigChanges changes;
  changes.user = "nobody";
  EXPECT_EQ(derive({.config = changes}).manifest.layers.size(), 4U);
}

TEST_F(Derived, ANewTraceTakesTheOldOnesPlace) {
  make_base(true, R"([{"created_by":"1"},{"created_by":"2"},{"created_by":"3"}])");  // as others write it
  const oci::Descriptor trace = oci::acceleration_layer_descriptor({Digest::of(as_bytes("new")), {3}});
  const auto traced = derive({.added = {{trace, "trace"}}});
  ASSERT_EQ(traced.manifest.layers.size(), 4U);
  EXPECT_EQ(traced.manifest.layers[3], trace);
  EXPECT_EQ(created_by(json_of(traced)), (Words{"1", "2", "3", "trace"}));
  EXPECT_TRUE(traced.manifest.subject);
  EXPECT_EQ(told_.notes, "");
}

TEST_F(Derived, OfFewerLayersTheHistoryTellsOnlyThose) {
  make_base(false, kHistory);
  EXPECT_EQ(created_by(json_of(derive({.layers_kept = 1, .added = {layer('a')}}))), (Words{"1", "env", "made a"}));
  EXPECT_EQ(created_by(json_of(derive({.layers_kept = 0, .added = {layer('a')}}))), (Words{"env", "made a"}));
}

TEST_F(Derived, ATracesEntryMayBeInFrontOfTheHistory) {
  make_base(true, R"([{"created_by":"Acceleration Layer"},{"created_by":"1"},{"created_by":"2"},{"created_by":"3"}])");
  EXPECT_EQ(created_by(json_of(derive({.added = {layer('a')}}))), (Words{"1", "2", "3", "made a"}));
}

TEST_F(Derived, RefusesWhatCannotBe) {
  make_base(false, kHistory);
  const auto source = must_open("base");
  auto base = select_of(*source);
  const auto destination = *oci::open_destination(reference("derived"));
  const auto attempt = [&](const Derivation& derivation) {
    return derive_image(*source, base, *destination, derivation, told_, {});
  };
  EXPECT_FAILS(attempt({.layers_kept = 4}), kInvalidArgument, "has 3");
  EXPECT_FAILS(attempt({.added = std::vector(253, layer('a'))}), kExhausted, "256");
  base.manifest.layers[0].annotations.clear();
  EXPECT_FAILS(attempt({}), kUnsupported, "ordinary");
}

std::string changed(const std::string& config, const oci::ConfigChanges& changes) {
  const auto parsed =
      oci::ImageConfig::parse(as_bytes(R"({"rootfs":{"type":"layers","diff_ids":[]},"config":)" + config + "}"));
  if (!parsed) return parsed.error().message();
  const auto result = parsed->with_changes(changes);
  if (!result) return result.error().message();
  return (*oci::parse_json(as_bytes(result->json())))["config"].dump();
}

TEST(ConfigChanges, AreMadeInPlaceAndLeaveTheRest) {
  oci::ConfigChanges changes;
  changes.env = {{"PATH", "/x=y"}, {"NEW", ""}};
  changes.labels = {{"a", "1"}};
  changes.workdir = "/srv";
  EXPECT_EQ(
      changed(R"({"x":1,"Env":["PATH=/bin","PATHS=z","PATH=again"],"Labels":{"b":"2","a":"0"},"User":"u"})", changes),
      R"({"x":1,"Env":["PATH=/x=y","PATHS=z","NEW="],"Labels":{"b":"2","a":"1"},"User":"u","WorkingDir":"/srv"})");
  EXPECT_EQ(changed("null", changes), R"({"Env":["PATH=/x=y","NEW="],"Labels":{"a":"1"},"WorkingDir":"/srv"})");
}

TEST(ConfigChanges, AnEntrypointTakesTheOldArgumentsAway) {
  oci::ConfigChanges changes;
  changes.entrypoint = Words{"/init"};
  EXPECT_EQ(changed(R"({"Cmd":["old"],"Entrypoint":["sh"]})", changes), R"({"Entrypoint":["/init"]})");
  changes.cmd = Words{"a", "b"};
  EXPECT_EQ(changed(R"({"Cmd":["old"]})", changes), R"({"Entrypoint":["/init"],"Cmd":["a","b"]})");
  changes.entrypoint = Words{};
  EXPECT_EQ(changed(R"({"Entrypoint":["sh"]})", changes), R"({"Cmd":["a","b"]})");
}

TEST(ConfigChanges, RefuseWhatIsNotAConfig) {
  oci::ConfigChanges changes;
  changes.env = {{"A", "b"}};
  changes.labels = {{"a", "1"}};
  EXPECT_NE(changed("7", changes).find("not a JSON object"), std::string::npos);
  EXPECT_NE(changed(R"({"Env":{}})", changes).find("not an array"), std::string::npos);
  EXPECT_NE(changed(R"({"Labels":[]})", changes).find("not a JSON object"), std::string::npos);
  changes.env = {{"A=B", "c"}};
  EXPECT_NE(changed("{}", changes).find("not a variable's name"), std::string::npos);
}

TEST(ConfigChanges, AnEmptyConfigIsOne) {
  const auto empty = oci::ImageConfig::empty(*oci::parse_platform("linux/arm/v6"));
  const auto parsed = oci::ImageConfig::parse(as_bytes(empty.json()));
  ASSERT_OK(parsed);
  EXPECT_EQ(parsed->platform().to_string(), "linux/arm/v6");
  EXPECT_EQ(parsed->diff_ids(), std::vector<Digest>());
  const Digest digest = Digest::of({});
  EXPECT_EQ(parsed->with_layers(std::vector<oci::LayerOrigin>{{digest, "x", ""}}).diff_ids(), std::vector{digest});
}

}  // namespace
}  // namespace dadi::pipeline
