// Directory hashes against the implementation that defines them in practice.
#include <gtest/gtest.h>

#include <random>

#include "libfs/ext4/htree_hash.h"
#include "tests/fs/ext4_fixture.h"

namespace dadi::fs {
namespace {

std::string random_name(std::minstd_rand& random) {
  std::string name(1 + random() % 255, '\0');
  // No blanks, quotes or other bytes that debugfs's command line would take apart.
  for (char& byte : name) byte = static_cast<char>(random() % 4 == 0 ? 0x80 + random() % 0x80 : 'A' + random() % 26);
  return name;
}

TEST(HtreeHash, EqualsDebugfsForEveryAlgorithmAndSeed) {
  if (!test::have_e2fsprogs()) GTEST_SKIP() << "needs e2fsprogs";
  std::minstd_rand random(20);
  for (unsigned number = 0; number < 6; ++number) {  // debugfs counts the unsigned forms as algorithms 3 to 5
    for (int round = 0; round < 12; ++round) {
      HtreeHash how{.version = static_cast<std::uint8_t>(number % 3), .is_signed = number < 3};
      std::string seed_option;
      if (round % 2 == 1) {
        how.seed = {0x03020100, 0x07060504, 0x0B0A0908, 0x0F0E0D0C};
        seed_option = " -s 00010203-0405-0607-0809-0a0b0c0d0e0f";
      }
      const std::string name = random_name(random);
      const test::CommandResult asked =
          test::run(fmt::format("debugfs -R 'dx_hash -h {}{} {}'", number, seed_option, name));
      const std::string due = fmt::format("is {:#x} ", htree_hash(how, name));
      EXPECT_NE(asked.output.find(due), std::string::npos) << number << ": " << asked.output << due;
    }
  }
}

}  // namespace
}  // namespace dadi::fs
