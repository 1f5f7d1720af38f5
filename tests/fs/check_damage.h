// The verifier against e2fsck on injected damage: both call the pristine image sound and each damaged one not, and ours
// says what is wrong with it. Checksums are right again after the damage, unless they are the damage.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "libfs/check/check.h"
#include "tests/fs/ext4_damager.h"
#include "tests/fs/ext4_fixture.h"

namespace dadi::fs::test {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;

struct Damage {
  const char* name;
  const char* finding;  // a part of what our check says
  std::function<void(Damager&)> inject;
  bool reference_misses = false;  // the kernel would refuse it, but e2fsck does not look
};

// All faults of a report, a line each.
std::string findings_of(const CheckReport& report);

// Makes one image, and shows both checkers each damage to it.
class DamageTest : public ::testing::Test {
 protected:
  void SetUp() override;

  // What the planned writer's file systems look like, with all that can be damaged: attributes that need a block and
  // attributes that fit the inode, special files, a directory with an index.
  ImageRecipe own_recipe() const;

  void run_table(const ImageRecipe& recipe, std::span<const Damage> table);

  ScratchFolder scratch_;
  std::filesystem::path source_ = scratch_.path() / "source";
  std::filesystem::path image_ = scratch_.path() / "image";

 private:
  void judge(const std::vector<std::byte>& bytes, const Damage& damage);
};

}  // namespace dadi::fs::test
