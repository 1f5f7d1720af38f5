#include "tests/fs/check_damage.h"

namespace dadi::fs::test {

std::string findings_of(const CheckReport& report) {
  std::string text;
  for (const CheckFinding& fault : report.faults) text += fmt::format("{}: {}\n", fault.place, fault.text);
  return text;
}

void DamageTest::SetUp() {
  if (!have_e2fsprogs()) GTEST_SKIP() << "needs e2fsprogs";
  std::filesystem::create_directory(source_);
  fill_source_folder(source_);
  write_bytes(scratch_.path() / "large", std::vector<std::byte>(500, std::byte{'v'}));
}

ImageRecipe DamageTest::own_recipe() const {
  const std::string commands = fmt::format(
      "ea_set -f {0}/large /etc/attributes user.large\nea_set /etc/attributes user.alpha first\n"
      "ea_set /etc/attributes user.beta second\nea_set /etc/shared user.a 1\nea_set /etc/shared user.b 2\n"
      "mknod pipe p\nmknod device c 1 3\n",
      scratch_.path().string());
  return {.options = kOwnOptions, .size = "16M", .debugfs = commands, .index_directories = true};
}

void DamageTest::run_table(const ImageRecipe& recipe, std::span<const Damage> table) {
  ASSERT_NO_FATAL_FAILURE(make_image(recipe, source_, image_));
  const std::vector<std::byte> pristine = read_bytes(image_);
  const auto before = check_filesystem(std::make_shared<MemoryDevice>(pristine));
  ASSERT_TRUE(before) << before.error().message();
  ASSERT_TRUE(before->sound()) << findings_of(*before);
  EXPECT_TRUE(before->notes.empty());
  for (const Damage& damage : table) {
    SCOPED_TRACE(damage.name);
    Damager damager(pristine);
    damage.inject(damager);
    judge(damager.bytes(), damage);
  }
}

void DamageTest::judge(const std::vector<std::byte>& bytes, const Damage& damage) {
  write_bytes(image_, bytes);
  const Verdict reference = e2fsck(image_);
  EXPECT_EQ(reference.is_clean, damage.reference_misses) << reference.output;
  const auto report = check_filesystem(std::make_shared<MemoryDevice>(bytes));
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_FALSE(report->sound());
  const std::string findings = findings_of(*report);
  EXPECT_NE(findings.find(damage.finding), std::string::npos) << findings << "---\n" << reference.output;
  // Damage behind a checksum that gives it away would prove nothing else.
  const bool is_about_checksums = std::string_view(damage.finding).find("checksum") != std::string_view::npos;
  EXPECT_TRUE(is_about_checksums || findings.find("its checksum") == std::string::npos) << findings;
}

}  // namespace dadi::fs::test
