// Writable layers on each other: one device, whichever of them is written to.
#include "libformat/lsmt/writable_stack.h"

#include <thread>

#include "libformat/blob/disk_folder.h"
#include "tests/format/writable_device.h"

namespace dadi::lsmt {
namespace {

using test::change_at_random;
using test::expect_error;
using test::kDeviceSize;
using test::Model;
using test::must;

using DiskOfLayer = std::shared_ptr<test::CutFile::Disk>;
using StackedLayer = WritableStack::Layer;

Result<void> nothing() {
  return {};
}

DiskOfLayer disk_for(WritableForm form) {
  auto disk = std::make_shared<test::CutFile::Disk>();
  disk->whole_blocks = form == WritableForm::kSparse;
  return disk;
}

Result<StackedLayer> make_layer(const DiskOfLayer& disk, WritableForm form, std::shared_ptr<const BlockReader> on,
                                Bytes size = {}) {
  DADI_TRY(auto layer, WritableLayer::create(std::make_unique<test::CutFolder>(disk), form,
                                             {.virtual_size = size, .uuid = {}, .parent = {}, .user_tag = {}},
                                             std::move(on), test::kRestless));
  return StackedLayer(std::move(layer));
}

class WritableStacks : public testing::TestWithParam<WritableForm> {
 protected:
  // A stack of one layer, whose disk is the first of `disks`.
  WritableStack start() {
    disks.push_back(disk_for(GetParam()));
    return WritableStack({must(make_layer(disks.back(), GetParam(), std::make_shared<test::LowerDevice>(kDeviceSize)))},
                         7);
  }
  void grow(WritableStack& stack) {
    disks.push_back(disk_for(GetParam()));
    must(stack.put_on_top(
        stack.changes(), [&](auto on) { return make_layer(disks.back(), GetParam(), std::move(on)); }, nothing));
  }
  // The same layers, opened anew.
  static WritableStack reopened(const std::vector<DiskOfLayer>& from) {
    std::vector<StackedLayer> layers;
    std::shared_ptr<const BlockReader> on = std::make_shared<test::LowerDevice>(kDeviceSize);
    for (const DiskOfLayer& disk : from) {
      layers.emplace_back(must(WritableLayer::open(std::make_unique<test::CutFolder>(disk), on, test::kRestless)));
      on = layers.back();
    }
    return WritableStack(std::move(layers), 9);
  }

  std::vector<DiskOfLayer> disks;
};
INSTANTIATE_TEST_SUITE_P(Forms, WritableStacks, testing::Values(WritableForm::kAppendOnly, WritableForm::kSparse),
                         [](const auto& form) {
                           return form.param == WritableForm::kSparse ? "Sparse" : "AppendOnly";
                         });

TEST_P(WritableStacks, AreOneDeviceThatLosesNothingThatWasFlushed) {
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    disks.clear();
    test::Random random(seed);
    Model model;
    std::uint64_t write = 1;
    WritableStack stack = start();
    for (int round = 0; round < 6; ++round) {
      change_at_random(stack, model, random, 30, write);
      ASSERT_EQ(model.compare(stack), "") << seed;
      if (round % 2 == 1) continue;
      grow(stack);
      model.flush();
      ASSERT_EQ(model.compare(stack), "") << seed;
      std::vector<DiskOfLayer> cut;
      for (const DiskOfLayer& disk : disks) cut.push_back(disk->after_power_cut(random));
      ASSERT_EQ(Model(model).settle(reopened(cut)), "") << seed;
    }
    SectorSet own;
    for (Sectors at; at < stack.size();) {
      const Extent extent = must(stack.next_extent(at));
      own.insert({at, at + extent.length});
      at += extent.length;
    }
    EXPECT_EQ(own.sectors(), stack.size());
    EXPECT_GT(stack.own_sectors().sectors(), Sectors{100});
    EXPECT_GT(stack.usage().segments, 0U);
  }
}

TEST_P(WritableStacks, GrowWhileOthersReadAndWrite) {
  const test::TemporaryFolder folder;
  const auto open_next = [&](const std::string& name, std::shared_ptr<const BlockReader> on) -> Result<StackedLayer> {
    DADI_TRY(auto files, DiskFolder::open(folder.path() / name));
    DADI_TRY(auto layer, WritableLayer::create(std::move(files), GetParam(), {}, std::move(on), test::kRestless));
    return StackedLayer(std::move(layer));
  };
  WritableStack stack({must(open_next("bottom", std::make_shared<test::LowerDevice>(kDeviceSize)))}, 7);
  Model model;
  std::atomic<bool> enough = false;
  std::thread reader([&] {
    test::Data sector(kSectorSize);
    while (!enough) {
      for (Sectors at; at < stack.size(); at += Sectors{7}) must(stack.read_at(at, sector));
    }
  });
  std::thread flusher([&] {
    while (!enough) must(stack.flush());
  });
  std::thread writer([&] {
    test::Random random(1);
    std::uint64_t write = 1;
    for (; !enough; std::this_thread::sleep_for(std::chrono::milliseconds(5)))
      change_at_random(stack, model, random, 10, write);
  });
  for (int layers = 0; layers < 5; ++layers) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    const auto open = [&](auto on) { return open_next(std::to_string(layers), std::move(on)); };
    // Others write, so it takes a few attempts to meet a moment when nobody does.
    while (!stack.put_on_top(stack.changes(), open, nothing)) std::this_thread::yield();
  }
  enough = true;
  for (std::thread* thread : {&reader, &flusher, &writer}) thread->join();
  EXPECT_EQ(model.compare(stack), "");
}

TEST_P(WritableStacks, StayAsTheyAreWhenALayerCannotBePutOnTop) {
  WritableStack stack = start();
  test::Random random(2);
  Model model;
  std::uint64_t write = 1;
  change_at_random(stack, model, random, 50, write);
  const auto fails = [](auto) -> Result<StackedLayer> { return Error::io("no such layer"); };
  expect_error(stack.put_on_top(stack.changes(), fails, nothing), ErrorCode::kIo, "no such layer");
  const auto right = [&](auto on) { return make_layer(disk_for(GetParam()), GetParam(), std::move(on)); };
  expect_error(stack.put_on_top(stack.changes() - 1, right, nothing), ErrorCode::kBusy, "meanwhile");
  const auto unsaid = []() -> Result<void> { return Error::io("it cannot be said"); };
  expect_error(stack.put_on_top(stack.changes(), right, unsaid), ErrorCode::kIo, "cannot be said");
  EXPECT_EQ(stack.depth(), 1U);
  const auto longer = [&](auto on) {
    return make_layer(disk_for(GetParam()), GetParam(), std::move(on), to_bytes(kDeviceSize + Sectors{8}));
  };
  expect_error(stack.put_on_top(stack.changes(), longer, nothing), ErrorCode::kInvalidArgument, "sectors");
  change_at_random(stack, model, random, 50, write);
  must(stack.flush());
  EXPECT_EQ(model.compare(stack), "");
  EXPECT_EQ(model.compare(reopened(disks)), "");
}

}  // namespace
}  // namespace dadi::lsmt
