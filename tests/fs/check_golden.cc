// The reference's own stacks are sound, but for the notes that they deserve.
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>

#include "libformat/blob/file_blob.h"
#include "libformat/layer_file.h"
#include "libformat/lsmt/stack_reader.h"
#include "libfs/check/check.h"
#include "libfs/ext4/volume.h"
#include "tests/fs/check_damage.h"

namespace dadi::fs::test {
namespace {

std::filesystem::path golden_folder() {
  if (const char* shared = std::getenv("DADI_SHARED")) return std::filesystem::path(shared) / "golden";
  if (const char* testdata = std::getenv("DADI_TESTDATA"))
    return std::filesystem::path(testdata).parent_path().parent_path() / "shared/golden";
  return "../shared/golden";
}

std::shared_ptr<const BlockReader> open_stack(const std::vector<const char*>& files) {
  std::vector<lsmt::LayerReader> layers;
  for (const char* file : files) {
    auto layer = open_layer_file(*FileBlob::open(golden_folder() / file));
    EXPECT_TRUE(layer) << layer.error().message();
    if (!layer) return nullptr;
    layers.push_back(std::move(layer->layer));
  }
  return std::move(*lsmt::StackReader::open(std::move(layers)));
}

struct Stack {
  std::vector<const char*> files;
  std::size_t notes;
  std::array<std::uint64_t, 4> counts;  // of directories, files, symlinks, others
};

TEST(CheckGolden, CallsTheReferencesStacksSoundAndNotesTheirStaleTotals) {
  if (!std::filesystem::exists(golden_folder())) GTEST_SKIP() << "needs " << golden_folder();
  // Besides both totals: lost+found has an index that leaves out an empty block.
  const Stack kStacks[] = {
      {{"append/0/overlaybd.commit"}, 3, {19, 221, 2, 2}},
      {{"append/0/lz4-bs4.zfile", "append/1/zstd-bs16.zfile"}, 3, {17, 17, 3, 2}},
      {{"append/merged.zfile"}, 3, {17, 17, 3, 2}},
      {{"sparse/0/zstd-bs4.zfile", "sparse/1/overlaybd.commit"}, 3, {17, 17, 3, 2}},
      {{"crafted/shuffled.zfile"}, 3, {19, 221, 2, 2}},
      {{"ext4_64.zfile"}, 0, {2, 0, 0, 0}},
  };
  for (const Stack& stack : kStacks) {
    SCOPED_TRACE(stack.files.back());
    const auto device = open_stack(stack.files);
    ASSERT_NE(device, nullptr);
    const auto report = check_filesystem(device);
    ASSERT_TRUE(report) << report.error().message();
    EXPECT_TRUE(report->sound()) << findings_of(*report);
    EXPECT_EQ(report->notes.size(), stack.notes);
    const CheckFacts& facts = report->facts;
    EXPECT_EQ((std::array{facts.directories, facts.files, facts.symlinks, facts.others}), stack.counts);
  }
}

}  // namespace
}  // namespace dadi::fs::test
