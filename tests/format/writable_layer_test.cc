// Writable layers: what they hold, and what they hold after a crash.
#include "libformat/lsmt/writable_layer.h"

#include <thread>

#include "libformat/blob/disk_folder.h"
#include "libformat/lsmt/layer_reader.h"
#include "tests/format/writable_device.h"

namespace dadi::lsmt {
namespace {

using test::below;
using test::change_at_random;
using test::CutFile;
using test::CutFolder;
using test::expect_error;
using test::kDeviceSize;
using test::kRestless;
using test::Model;
using test::must;

using Disk = std::shared_ptr<CutFile::Disk>;
using Layer = std::unique_ptr<WritableLayer>;

const Uuid kName = Uuid::parse("11111111-2222-3333-4444-555555555555").value();

std::shared_ptr<const BlockReader> lower() {
  return std::make_shared<test::LowerDevice>(kDeviceSize);
}

class WritableLayers : public testing::TestWithParam<WritableForm> {
 protected:
  bool sparse() const { return GetParam() == WritableForm::kSparse; }
  Disk new_disk() const {
    auto disk = std::make_shared<CutFile::Disk>();
    disk->whole_blocks = sparse();
    return disk;
  }
  Layer create(const Disk& disk, const WritableOptions& options = kRestless) const {
    return must(
        WritableLayer::create(std::make_unique<CutFolder>(disk), GetParam(), {.uuid = kName}, lower(), options));
  }
  static Result<Layer> open(const Disk& disk, const WritableOptions& options = kRestless) {
    return WritableLayer::open(std::make_unique<CutFolder>(disk), lower(), options);
  }
};
INSTANTIATE_TEST_SUITE_P(Forms, WritableLayers, testing::Values(WritableForm::kAppendOnly, WritableForm::kSparse),
                         [](const auto& form) {
                           return form.param == WritableForm::kSparse ? "Sparse" : "AppendOnly";
                         });

TEST_P(WritableLayers, HoldWhatWasWrittenLast) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    test::Random random(seed);
    const Disk disk = new_disk();
    Model model;
    std::uint64_t write = 1;
    Layer layer = create(disk);
    for (int round = 0; round < 20; ++round) {
      change_at_random(*layer, model, random, 30, write);
      ASSERT_EQ(model.compare(*layer), "") << seed;
      if (round % 5 != 4) continue;
      must(layer->flush());
      layer = must(open(disk));
      ASSERT_EQ(layer->notes(), std::vector<std::string>());
      ASSERT_EQ(model.compare(*layer), "") << seed;
    }
  }
}

TEST_P(WritableLayers, LoseNothingThatWasFlushedWhenPowerGoes) {
  const std::uint64_t seeds = std::getenv("DADI_LONG") != nullptr ? 400 : 4;
  std::uint64_t cuts = 0;
  for (std::uint64_t seed = 0; seed < seeds; ++seed) {
    test::Random random(seed);
    const Disk disk = new_disk();
    Model model;
    std::uint64_t write = 1;
    std::string wrong;
    Layer layer;
    // After each thing done to the files, some of the states that a cut could leave; in each the layer is used for a
    // while, until power goes again.
    disk->after_change = [&] {
      if (!wrong.empty() || below(random, 8) != 0) return;
      Disk after = disk->after_power_cut(random);
      Model then = model;
      std::uint64_t later = write + 1000;
      for (int depth = 0; depth < 3 && wrong.empty(); ++depth, ++cuts) {
        auto opened = open(after);
        if (!opened) {
          // Before the data file is there, there is no layer.
          if (opened.error().code() != ErrorCode::kNotFound || layer != nullptr) wrong = opened.error().message();
          return;
        }
        wrong = then.settle(**opened);
        change_at_random(**opened, then, random, 12, later);
        after = after->after_power_cut(random);
      }
    };
    layer = create(disk);
    change_at_random(*layer, model, random, 300, write);
    ASSERT_EQ(wrong, "") << "seed " << seed;
  }
  EXPECT_GT(cuts, 50 * seeds);
}

TEST_P(WritableLayers, AreAsTheyWereUntilTheyAreSealed) {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    test::Random random(seed);
    const Disk disk = new_disk();
    Model model;
    std::uint64_t write = 1;
    Layer layer = create(disk);
    change_at_random(*layer, model, random, 100, write);
    bool sealed_once = false;
    std::string wrong;
    disk->after_change = [&] {
      for (int i = 0; i < 20 && wrong.empty(); ++i) {
        const Disk after = disk->after_power_cut(random);
        const auto opened = open(after);
        if (opened) {
          wrong = Model(model).settle(**opened);
          continue;
        }
        sealed_once = true;
        if (opened.error().code() != ErrorCode::kDenied) wrong = opened.error().message();
        const auto data = std::make_shared<MemoryBlob>(after->files["writable_data"]->now().bytes);
        std::vector<LayerReader> layers;
        layers.push_back(must(LayerReader::open(
            test::blob_of(test::make_layer({.virtual_size = to_bytes(kDeviceSize)}, [](LayerWriter& writer) {
              for (std::uint64_t at = 0; at < kDeviceSize.value; ++at) must(writer.write({at}, test::sector_of(1, at)));
            })))));
        layers.push_back(must(LayerReader::open(data)));
        wrong = model.compare(*must(StackReader::open(std::move(layers))));
      }
    };
    must(layer->seal());
    disk->after_change = [] {};
    EXPECT_EQ(wrong, "") << "seed " << seed;
    EXPECT_TRUE(sealed_once);
    EXPECT_EQ(model.compare(*layer), "");
    expect_error(layer->write_at({0}, test::sector_of(9, 0)), ErrorCode::kDenied, "sealed");
    expect_error(open(disk), ErrorCode::kDenied, "sealed");
  }
}

TEST_P(WritableLayers, AreFilesThatReadersOfTheFormatOpen) {
  const test::TemporaryFolder folder;
  test::Random random(5);
  Model model;
  std::uint64_t write = 1;
  Layer layer = must(WritableLayer::create(must(DiskFolder::open(folder.path() / "upper")), GetParam(), {.uuid = kName},
                                           lower(), kRestless));
  change_at_random(*layer, model, random, 400, write);
  must(layer->flush());
  expect_error(DiskFolder::open(folder.path() / "upper"), ErrorCode::kBusy, "in use");
  const auto data = must(FileBlob::open(folder.path() / "upper" / kDataName));
  const auto index = must(FileBlob::open(folder.path() / "upper" / kIndexName));
  const LayerReader reader =
      must(sparse() ? LayerReader::open_sparse(data) : LayerReader::open_append_only(data, index));
  EXPECT_EQ(reader.info().uuid, kName);
  EXPECT_EQ(reader.info().virtual_size, to_bytes(kDeviceSize));
  if (sparse()) {
    EXPECT_EQ(index->size(), Bytes{});
  }
  for (const Segment& segment : reader.segments()) {
    test::Data theirs(to_bytes(segment.length).value);
    test::Data ours(theirs.size());
    if (!segment.zeroed) must(reader.read_data(segment.moffset, theirs));
    must(layer->read_at(segment.offset, ours));
    ASSERT_EQ(theirs, ours) << segment.offset.value;
  }
  layer.reset();
  layer = must(WritableLayer::open(must(DiskFolder::open(folder.path() / "upper")), lower(), kRestless));
  EXPECT_EQ(model.compare(*layer), "");
}

TEST_P(WritableLayers, FailWritesThatHaveNoRoomAndKeepWhatWasFlushed) {
  for (const bool limit : {false, true}) {
    const Disk disk = new_disk();
    WritableOptions options = kRestless;
    if (limit)
      options.limit = {64 << 10};
    else
      disk->room = 64 << 10;
    Layer layer = create(disk, options);
    Model model;
    std::uint64_t failed = 0;
    for (std::uint64_t write = 2; write < 40; ++write) {
      const Sectors at{write * 8 % kDeviceSize.value};
      test::Data data;
      for (std::uint64_t i = 0; i < 8; ++i)
        std::ranges::copy(test::sector_of(write, at.value + i), std::back_inserter(data));
      const auto written = layer->write_at(at, data);
      if (!written) {
        ++failed;
        expect_error(written, ErrorCode::kExhausted, "");
        continue;
      }
      model.change(at, {8}, write);
      if (const auto flushed = layer->flush())
        model.flush();
      else
        expect_error(flushed, ErrorCode::kExhausted, "");
    }
    EXPECT_GT(failed, 15U);
    EXPECT_LT(failed, 35U);
    EXPECT_EQ(model.compare(*layer), "");
    test::Random random(1);
    EXPECT_EQ(model.settle(*must(open(disk->after_power_cut(random)))), "");
    // With more room it goes on.
    if (limit) continue;
    disk->room.reset();
    must(layer->write_at({0}, test::sector_of(90, 0)));
    model.change({0}, {1}, 90);
    must(layer->flush());
    EXPECT_EQ(model.compare(*must(open(disk))), "");
  }
}

TEST_P(WritableLayers, TakeTheRoomOfOneCopyHoweverOftenItIsWritten) {
  const Disk disk = new_disk();
  WritableOptions options = kRestless;
  options.limit = {4 * to_bytes(kDeviceSize).value};
  Layer layer = create(disk, options);
  test::Data data(to_bytes(kDeviceSize).value);
  for (std::uint64_t write = 2; write < 100; ++write) {
    for (std::uint64_t i = 0; i < kDeviceSize.value; ++i)
      std::ranges::copy(test::sector_of(write, i), data.begin() + static_cast<std::ptrdiff_t>(i * kSectorSize));
    must(layer->write_at({0}, data));
    if (write % 3 == 0) must(layer->flush());
  }
  must(layer->flush());
  EXPECT_LT(disk->taken(), 3 * data.size());
  test::Data read(data.size());
  must(layer->read_at({0}, read));
  EXPECT_EQ(read, data);
  layer = must(open(disk));
  must(layer->read_at({0}, read));
  EXPECT_EQ(read, data);
}

TEST_P(WritableLayers, StoreNoDataForZerosAndHideWhatLiesBelow) {
  const Disk disk = new_disk();
  Layer layer = create(disk);
  must(layer->write_zeroes({0}, {256}));
  must(layer->discard({256}, {256}));
  must(layer->flush());
  EXPECT_LE(disk->taken(), 4U * 4096);
  layer = must(open(disk));
  test::Data read(to_bytes(kDeviceSize).value, std::byte{1});
  must(layer->read_at({0}, read));
  EXPECT_EQ(read, test::Data(read.size()));
  EXPECT_EQ(must(layer->next_extent({0})), (Extent{Extent::Kind::kZero, kDeviceSize}));
}

TEST_P(WritableLayers, TakeNoMoreWritesOnceADiskDidNotSync) {
  const Disk disk = new_disk();
  Layer layer = create(disk);
  must(layer->write_at({0}, test::sector_of(5, 0)));
  disk->sync_fails = true;
  expect_error(layer->flush(), ErrorCode::kIo, "the disk is gone");
  disk->sync_fails = false;
  expect_error(layer->flush(), ErrorCode::kIo, "no more writes");
  expect_error(layer->write_at({0}, test::sector_of(6, 0)), ErrorCode::kIo, "no more writes");
  test::Data read(512);
  must(layer->read_at({0}, read));
}

TEST_P(WritableLayers, RefuseWhatIsOutsideOfTheDevice) {
  Layer layer = create(new_disk());
  test::Data data(1024);
  expect_error(layer->write_at(kDeviceSize - Sectors{1}, data), ErrorCode::kIo, "past the device's end");
  expect_error(layer->write_at({~0ULL}, data), ErrorCode::kIo, "past the device's end");
  expect_error(layer->read_at(kDeviceSize, data), ErrorCode::kIo, "past the device's end");
  expect_error(layer->discard({1}, kDeviceSize), ErrorCode::kIo, "past the device's end");
  expect_error(layer->next_extent(kDeviceSize), ErrorCode::kIo, "past the device's end");
  expect_error(layer->write_at({0}, std::span(data).first(100)), ErrorCode::kInvalidArgument, "sectors");
}

TEST_P(WritableLayers, AnswerManyThreadsAtOnce) {
  const test::TemporaryFolder folder;
  Layer layer = must(
      WritableLayer::create(must(DiskFolder::open(folder.path())), GetParam(), {.uuid = kName}, lower(), kRestless));
  std::atomic<std::uint64_t> wrong = 0;
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t thread = 0; thread < 4; ++thread)
      threads.emplace_back([&, thread] {
        test::Random random(thread);
        for (std::uint64_t i = 0; i < 400; ++i) {
          // Each thread has every fourth block of 4 KiB to itself, and reads any.
          const Sectors at{(4 * below(random, 16) + thread) * 8};
          test::Data data;
          for (std::uint64_t k = 0; k < 8; ++k)
            std::ranges::copy(test::sector_of(i + 2, at.value + k), std::back_inserter(data));
          must(layer->write_at(at, data));
          if (i % 16 == 0) must(layer->flush());
          test::Data read(data.size());
          must(layer->read_at(at, read));
          wrong += read != data ? 1 : 0;
          const std::uint64_t other = below(random, kDeviceSize.value);
          must(layer->read_at({other}, std::span(read).first(512)));
          std::uint64_t write = 0;
          std::memcpy(&write, read.data(), 8);
          wrong += !std::ranges::equal(std::span(read).first(512), test::sector_of(write, other)) ? 1 : 0;
        }
      });
  }
  EXPECT_EQ(wrong, 0U);
}

TEST(WritableAppendLayer, RemovesWhatACrashOfAnothersLeft) {
  const auto disk = std::make_shared<CutFile::Disk>();
  const auto reopen = [&] { return WritableLayer::open(std::make_unique<CutFolder>(disk), lower(), kRestless); };
  Layer layer = must(WritableLayer::create(std::make_unique<CutFolder>(disk), WritableForm::kAppendOnly,
                                           {.uuid = kName}, lower(), kRestless));
  must(layer->write_at({8}, test::Data(4 * kSectorSize, std::byte{3})));
  must(layer->flush());
  const auto index = disk->files[kIndexName];
  const auto add = [&](const Segment& segment) {
    std::array<std::byte, kRecordSize> raw{};
    if (segment.length.value > 0) encode_record(segment, raw);
    must(index->write_at(index->size(), raw));
  };
  add({});
  add({{16}, {1}, {8}});
  add({{24}, {1}, {500}});
  must(index->write_at(index->size(), test::Data(7, std::byte{1})));
  layer = must(reopen());
  ASSERT_EQ(layer->notes().size(), 1U);
  EXPECT_NE(layer->notes()[0].find("unfinished records"), std::string::npos);
  // What the reference refuses is gone from the log.
  EXPECT_EQ(index->size().value % kRecordSize, 0U);
  must(LayerReader::open_append_only(disk->files[kDataName], index));
  EXPECT_TRUE(decode_record(must(read_range(*index, {4096 + 256 * kRecordSize}, {kRecordSize}))).is_padding());
  EXPECT_EQ(must(reopen())->notes().size(), 0U);
  add({{kNowhere.value - 1}, {4}, {8}});
  expect_error(reopen(), ErrorCode::kCorruption, "record 259");
  disk->files.erase(kIndexName);
  expect_error(reopen(), ErrorCode::kCorruption, "without its index");
}

TEST(WritableSparseLayer, SeesWhatTheReferenceWroteLater) {
  const auto disk = std::make_shared<CutFile::Disk>();
  const auto reopen = [&] { return must(WritableLayer::open(std::make_unique<CutFolder>(disk), lower(), kRestless)); };
  Layer layer = must(WritableLayer::create(std::make_unique<CutFolder>(disk), WritableForm::kSparse, {.uuid = kName},
                                           lower(), kRestless));
  must(layer->discard({0}, {64}));
  must(layer->flush());
  must(disk->files[kDataName]->write_at({4096 + 8 * 512}, test::Data(4096, std::byte{7})));
  layer = reopen();
  test::Data read(to_bytes(Sectors{64}).value);
  must(layer->read_at({0}, read));
  test::Data expected(read.size());
  std::fill_n(expected.begin() + 4096, 4096, std::byte{7});
  EXPECT_EQ(read, expected);
  // The discards of another layer say nothing of this one.
  auto raw = must(read_range(*disk->files[kDiscardsName], {0}, disk->files[kDiscardsName]->size()));
  raw[16] = std::byte{0x99};
  must(disk->files[kDiscardsName]->write_at({0}, raw));
  must(reopen()->read_at({0}, std::span(read).first(512)));
  EXPECT_TRUE(std::ranges::equal(std::span(read).first(512), test::sector_of(1, 0)));
}

}  // namespace
}  // namespace dadi::lsmt
