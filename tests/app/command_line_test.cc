#include "apps/dadi/command_line.h"

#include <gtest/gtest.h>

namespace dadi {
namespace {

TEST(Nearest, OffersTheWordThatWasProbablyMeant) {
  const std::vector<std::string> words = {"convert", "check", "inspect", "verify", "export", "ls", "cat"};
  EXPECT_EQ(nearest("conver", words), "convert");
  EXPECT_EQ(nearest("covnert", words), "convert");
  EXPECT_EQ(nearest("chekc", words), "check");
  EXPECT_EQ(nearest("expotr", words), "export");
  EXPECT_EQ(nearest("sl", words), "ls");
}

TEST(Nearest, OffersNothingWhenNothingIsNear) {
  EXPECT_EQ(nearest("frobnicate", {"convert", "ls"}), "");
  EXPECT_EQ(nearest("", {"convert"}), "");
  EXPECT_EQ(nearest(std::string(100'000, 'x'), {"convert"}), "");
}

}  // namespace
}  // namespace dadi
