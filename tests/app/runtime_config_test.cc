#include "apps/image/runtime_config.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace dadi {
namespace {

class RuntimeConfigTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "dadi-config-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  Result<RuntimeConfig> load(std::string_view json) {
    std::ofstream(folder_ / "config.v1.json") << json;
    return RuntimeConfig::load(folder_ / "config.v1.json");
  }
  void expect_error(ErrorCode code, std::string_view json, std::string_view text) {
    const auto config = load(json);
    ASSERT_FALSE(config) << json;
    EXPECT_EQ(config.error().code(), code) << json;
    EXPECT_NE(config.error().message().find(text), std::string::npos) << config.error().message();
  }

  std::filesystem::path folder_;
};

TEST_F(RuntimeConfigTest, LowersAreFilesBottomFirstAndRelativeToTheConfig) {
  const auto config = load(R"({"repoBlobUrl":"","lowers":[{"file":"a"},{"file":"/b"}],"resultFile":""})");
  ASSERT_TRUE(config) << config.error().message();
  ASSERT_EQ(config->lowers.size(), 2U);
  EXPECT_EQ(config->lowers[0].file, folder_ / "a");
  EXPECT_EQ(config->lowers[1].file, "/b");
  EXPECT_FALSE(config->upper);
}

TEST_F(RuntimeConfigTest, AFolderStandsForTheFirstFileThatTheRuntimeWouldLookFor) {
  std::filesystem::create_directory(folder_ / "fs");
  std::ofstream(folder_ / "fs/overlaybd.sealed") << "x";
  auto config = load(R"({"lowers":[{"dir":"fs"}]})");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->lowers[0].file, folder_ / "fs/overlaybd.sealed");
  std::ofstream(folder_ / "fs/overlaybd.commit") << "x";
  config = load(R"({"lowers":[{"dir":"fs"}]})");
  ASSERT_TRUE(config);
  EXPECT_EQ(config->lowers[0].file, folder_ / "fs/overlaybd.commit");
}

TEST_F(RuntimeConfigTest, AnUpperAloneIsADevice) {
  const auto config = load(R"({"lowers":[],"upper":{"index":"i","data":"d"}})");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->upper->data, folder_ / "d");
  EXPECT_EQ(config->upper->index, folder_ / "i");
}

TEST_F(RuntimeConfigTest, AnEmptyUpperIsNone) {
  const auto config = load(R"({"lowers":[{"file":"a"}],"upper":{}})");
  ASSERT_TRUE(config);
  EXPECT_FALSE(config->upper);
}

TEST_F(RuntimeConfigTest, TheLayerThatCarriesATraceIsLeftOut) {
  const auto config = load(R"({"accelerationLayer":true,"lowers":[{"file":"a"},{"dir":"/nowhere"}]})");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->lowers.size(), 1U);
}

TEST_F(RuntimeConfigTest, RefusesWhatIsNotHere) {
  expect_error(ErrorCode::kUnsupported, R"({"lowers":[{"digest":"sha256:ab","size":1,"dir":"fs"}]})", "lower 0");
  expect_error(ErrorCode::kNotFound, R"({"lowers":[{"dir":"fs"}]})", "overlaybd.commit");
  expect_error(ErrorCode::kUnsupported, R"({"lowers":[{"file":"a","targetDigest":"sha256:ab"}]})", "TurboOCI");
  EXPECT_EQ(RuntimeConfig::load(folder_ / "missing.json").error().code(), ErrorCode::kNotFound);
}

TEST_F(RuntimeConfigTest, RefusesWhatIsNoConfig) {
  for (const char* json :
       {"", "[]", "null", "{", "\xff", R"({})", R"({"lowers":null})", R"({"lowers":{}})", R"({"lowers":[1]})",
        R"({"lowers":[{"file":1}]})", R"({"lowers":[{"dir":[]}]})", R"({"lowers":[],"upper":[]})",
        R"({"upper":{"data":{}}})", R"({"accelerationLayer":true,"lowers":[{"file":"a"}]})"}) {
    expect_error(ErrorCode::kCorruption, json, "config.v1.json");
  }
}

}  // namespace
}  // namespace dadi
