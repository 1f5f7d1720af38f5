#include <gtest/gtest.h>

#include <fstream>

#include "libconvert/registry/mirrors.h"

namespace dadi::registry {
namespace {

namespace fs = std::filesystem;

class Mirrors : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::path(testing::TempDir()) / ("mirrors-" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void file(const std::string& text) {
    files_.push_back(folder_ / std::to_string(files_.size()));
    std::ofstream(files_.back()) << text;
  }
  // "HOST/REPOSITORY", each with a '!' when it may lack TLS; or the kind of the error.
  std::string places(const std::string& host, const std::string& repository, bool by_digest = false) {
    const auto found = places_to_pull(files_, host, repository, by_digest);
    if (!found) return "error: " + found.error().message();
    std::string text;
    for (const Place& place : *found)
      text += (text.empty() ? "" : " ") + place.host + "/" + place.repository + (place.may_lack_tls ? "!" : "");
    return text;
  }

  fs::path folder_;
  std::vector<fs::path> files_;
};

TEST_F(Mirrors, AreNoneWithoutAFile) {
  files_.push_back(folder_ / "missing");
  EXPECT_EQ(places("docker.io", "library/nginx"), "docker.io/library/nginx");
}

TEST_F(Mirrors, ComeBeforeTheRegistryInTheirOrder) {
  file(R"([[registry]]
          location = "docker.io"
          [[registry.mirror]]
          location = "one.example:5000"
          insecure = true
          [[registry.mirror]]
          location = "two.example/hub/"
          [[registry]]
          location = "hub.example")");
  EXPECT_EQ(places("docker.io", "library/nginx"),
            "one.example:5000/library/nginx! two.example/hub/library/nginx docker.io/library/nginx");
  EXPECT_EQ(places("hub.example", "a/b"), "hub.example/a/b");
}

TEST_F(Mirrors, LongestPrefixCountsAndEndsAtASlash) {
  file(R"([[registry]]
          prefix = "a.example"
          location = "all.example"
          [[registry]]
          prefix = "a.example/team"
          location = "team.example/x"
          insecure = true
          [[registry]]
          prefix = "*.example"
          location = "rest.example/sub")");
  EXPECT_EQ(places("a.example", "team/app"), "team.example/x/app!");
  EXPECT_EQ(places("a.example", "teams/app"), "all.example/teams/app");
  EXPECT_EQ(places("b.example", "app"), "rest.example/sub/app");
  EXPECT_EQ(places("a.example.org", "app"), "a.example.org/app");
}

TEST_F(Mirrors, MayBeForDigestsOrTagsAlone) {
  file(R"([[registry]]
          location = "a.example"
          mirror-by-digest-only = true
          [[registry.mirror]]
          location = "digests.example"
          [[registry.mirror]]
          location = "tags.example"
          pull-from-mirror = "tag-only")");
  EXPECT_EQ(places("a.example", "app", true), "digests.example/app a.example/app");
  EXPECT_EQ(places("a.example", "app", false), "tags.example/app a.example/app");
}

TEST_F(Mirrors, LaterFileCountsMoreAndABlockedRegistryIsDenied) {
  file(
      "[[registry]]\nlocation = \"a.example\"\nblocked = true\n[[registry]]\nlocation = \"b.example\"\nblocked = true");
  file("[[registry]]\nlocation = \"a.example\"");
  EXPECT_EQ(places("a.example", "app"), "a.example/app");
  EXPECT_EQ(places_to_pull(files_, "b.example", "app", false).error().code(), ErrorCode::kDenied);
}

TEST_F(Mirrors, RefusesWhatIsNoSuchFile) {
  for (const char* text : {"[[registry]\n", "registry = [1]", "[[registry]]\ninsecure = true",
                           "[[registry]]\nlocation = \"a.example\"\n[[registry.mirror]]\ninsecure = true",
                           "[[registry]]\nlocation = \"a.example\"\n[[registry.mirror]]\nlocation = \"u@evil\"",
                           "[[registry]]\nlocation = \"a.example\"\n[[registry.mirror]]\nlocation = \"/x\""}) {
    files_.clear();
    file(text);
    const auto found = places_to_pull(files_, "a.example", "app", false);
    ASSERT_FALSE(found) << text;
    EXPECT_EQ(found.error().code(), ErrorCode::kCorruption) << text;
  }
}

}  // namespace
}  // namespace dadi::registry
