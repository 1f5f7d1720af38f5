// Layers from what devices hold.
#include "libconvert/pipeline/device_layer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "libformat/base/bytes.h"
#include "libformat/layer_file.h"
#include "tests/convert/oci_fixture.h"
#include "tests/format/test_support.h"

namespace dadi::pipeline {
namespace {

using test::Data;
using test::must;

constexpr std::size_t kBlock = 4096;

// A device in memory, which may know where it holds zeros.
class MemoryDevice final : public BlockReader {
 public:
  explicit MemoryDevice(Data data, bool tells_zeros = false) : bytes(std::move(data)), tells_zeros_(tells_zeros) {}

  Sectors size() const override { return {bytes.size() / kSectorSize}; }
  Result<void> read_at(Sectors at, std::span<std::byte> out, const ReadContext& /*context*/) const override {
    if (fails) return Error::io("a bad sector");
    if (at > size() || whole_sectors(out) > size() - at) return Error::io("past the end");
    read += Bytes{out.size()};
    std::memcpy(out.data(), bytes.data() + to_bytes(at).value, out.size());
    return {};
  }
  Result<Extent> next_extent(Sectors at) const override {
    if (!tells_zeros_) return Extent{Extent::Kind::kData, size() - at};
    Extent extent{is_zero(at) ? Extent::Kind::kHole : Extent::Kind::kData, {1}};
    while (at + extent.length < size() && is_zero(at + extent.length) == is_zero(at)) extent.length += {1};
    return extent;
  }

  Data bytes;
  bool fails = false;
  mutable Bytes read{};

 private:
  bool is_zero(Sectors at) const { return all_zero(std::span(bytes).subspan(to_bytes(at).value, kSectorSize)); }
  bool tells_zeros_;
};

// A store in memory.
class MemoryDestination final : public oci::ImageDestination {
 public:
  Result<std::unique_ptr<BlobSink>> create_blob(Bytes head_size) override {
    return std::make_unique<Sink>(*this, head_size);
  }
  Result<bool> has_blob(const Digest& digest, Bytes /*size*/) override { return blobs.contains(digest); }
  Finished on_finished(Finished /*told*/) override { return {}; }
  Result<void> commit(const oci::Descriptor& /*root*/) override { return {}; }

  std::map<Digest, Data> blobs;

 private:
  class Sink final : public BlobSink {
   public:
    Sink(MemoryDestination& store, Bytes head_size) : store_(store), data_(head_size.value) {}
    Result<void> write(std::span<const std::byte> data) override {
      data_.insert(data_.end(), data.begin(), data.end());
      return {};
    }
    Result<BlobIdentity> finish(std::span<const std::byte> head) override {
      std::ranges::copy(head, data_.begin());
      const BlobIdentity identity{Digest::of(data_), {data_.size()}};
      store_.blobs[identity.digest] = std::move(data_);
      return identity;
    }

   private:
    MemoryDestination& store_;
    Data data_;
  };
};

class DeviceLayerTest : public ::testing::Test {
 protected:
  DeviceLayer write(const BlockReader& device, const BlockReader* below, const lsmt::SectorSet& written,
                    const DeviceLayerOptions& options = {}) {
    const auto changes = must(DeviceChanges::find(device, below, written, {}, [](Bytes) {}));
    Bytes done;
    DeviceLayer layer =
        must(write_device_layer(device, changes, options, store_, *workers_, {}, [&](Bytes bytes) { done = bytes; }));
    EXPECT_EQ(done, changes.data());
    EXPECT_EQ(layer.summary.data, changes.data());
    EXPECT_EQ(layer.summary.unreferenced, Bytes{0});
    return layer;
  }

  LayerFile open(const DeviceLayer& layer) {
    return must(open_layer_file(test::blob_of(store_.blobs.at(layer.descriptor.digest))));
  }

  // What a stack of the layer on a device of this content reads as.
  Data stacked(const MemoryDevice* below, const DeviceLayer& layer) {
    std::vector<lsmt::LayerReader> layers;
    if (below != nullptr) {
      const lsmt::LayerInfo info{.virtual_size = to_bytes(below->size())};
      layers.push_back(must(lsmt::LayerReader::open(test::blob_of(
          test::make_layer(info, [&](lsmt::LayerWriter& writer) { must(writer.write({}, below->bytes)); })))));
    }
    layers.push_back(open(layer).layer);
    return test::all_of(*must(lsmt::StackReader::open(std::move(layers))));
  }

  test::Random random_{7};
  MemoryDestination store_;
  std::unique_ptr<CompressionWorkers> workers_ = must(CompressionWorkers::create({}, 2));
};

lsmt::SectorSet sectors(std::initializer_list<lsmt::SectorRange> ranges) {
  lsmt::SectorSet set;
  for (const auto& range : ranges) set.insert(range);
  return set;
}

std::vector<lsmt::SectorRange> ranges_of(const DeviceChanges& changes, bool zeroed) {
  std::vector<lsmt::SectorRange> ranges;
  for (const auto& run : changes.runs())
    if (run.zeroed == zeroed) ranges.push_back({run.at, run.at + run.length});
  return ranges;
}

TEST_F(DeviceLayerTest, BlocksThatEqualThoseBelowAreLeftOut) {
  const MemoryDevice below(test::random_bytes(random_, 64 * kBlock));
  MemoryDevice device(below.bytes);
  device.bytes[10 * kBlock + 700] ^= std::byte{1};
  device.bytes[12 * kBlock] ^= std::byte{1};
  device.bytes[13 * kBlock + kBlock - 1] ^= std::byte{1};
  const auto changes = must(DeviceChanges::find(device, &below, all_sectors(device), {}, [](Bytes) {}));
  EXPECT_EQ(ranges_of(changes, false), (std::vector<lsmt::SectorRange>{{{80}, {88}}, {{96}, {112}}}));
  EXPECT_EQ(ranges_of(changes, true), std::vector<lsmt::SectorRange>());
  EXPECT_EQ(changes.data(), Bytes{3 * kBlock});
  EXPECT_EQ(stacked(&below, write(device, &below, all_sectors(device))), device.bytes);
}

TEST_F(DeviceLayerTest, OnlyBlocksThatWereWrittenAreLookedAt) {
  const MemoryDevice below(test::random_bytes(random_, 1024 * kBlock));
  MemoryDevice device(below.bytes);
  device.bytes[9 * kBlock + 600] ^= std::byte{1};
  Bytes done;
  const auto changes = must(DeviceChanges::find(device, &below, sectors({{{73}, {74}}, {{4000}, {4001}}}), {},
                                                [&](Bytes bytes) { done = bytes; }));
  EXPECT_EQ(ranges_of(changes, false), (std::vector<lsmt::SectorRange>{{{72}, {80}}}));
  EXPECT_EQ(device.read, Bytes{2 * kBlock});
  EXPECT_EQ(below.read, Bytes{2 * kBlock});
  EXPECT_EQ(done, Bytes{2 * kBlock});
}

TEST_F(DeviceLayerTest, ZerosTakeNoRoomAndAreLeftOutWhereZerosAreBelow) {
  MemoryDevice below(test::random_bytes(random_, 64 * kBlock));
  std::fill_n(below.bytes.begin() + 32 * kBlock, 32 * kBlock, std::byte{0});
  const MemoryDevice device(Data(64 * kBlock));
  const auto changes = must(DeviceChanges::find(device, &below, all_sectors(device), {}, [](Bytes) {}));
  EXPECT_EQ(ranges_of(changes, true), (std::vector<lsmt::SectorRange>{{{0}, {256}}}));
  EXPECT_EQ(changes.data(), Bytes{0});
  const DeviceLayer layer = write(device, &below, all_sectors(device));
  EXPECT_EQ(layer.summary.zeroed_records, 1U);
  EXPECT_EQ(stacked(&below, layer), device.bytes);
}

TEST_F(DeviceLayerTest, WhatBothDevicesKnowToBeZerosIsNotRead) {
  MemoryDevice below(Data(4096 * kBlock), true);
  MemoryDevice device(Data(4096 * kBlock), true);
  std::fill_n(device.bytes.begin() + 1000 * kBlock, 100, std::byte{1});
  std::fill_n(below.bytes.begin() + 3000 * kBlock, 100, std::byte{1});
  const DeviceLayer layer = write(device, &below, all_sectors(device));
  EXPECT_EQ(layer.summary.records, 2U);
  EXPECT_LT(device.read, Bytes{3 << 20});
  EXPECT_LT(below.read, Bytes{3 << 20});
  EXPECT_EQ(stacked(&below, layer), device.bytes);
}

TEST_F(DeviceLayerTest, SizesNeedNotBeWholeBlocksNorEqual) {
  for (const std::size_t lower : {0, 1, 7, 8, 9, 30, 2049, 2052, 3000}) {
    for (const std::size_t upper : {1, 7, 8, 9, 30, 2049, 2052}) {
      const MemoryDevice below(test::random_bytes(random_, lower * kSectorSize));
      MemoryDevice device(test::random_bytes(random_, upper * kSectorSize));
      std::copy_n(below.bytes.begin(), std::min(lower, upper) / 2 * kSectorSize, device.bytes.begin());
      const DeviceLayer layer = write(device, &below, all_sectors(device));
      EXPECT_EQ(open(layer).layer.info().virtual_size, Bytes{upper * kSectorSize});
      EXPECT_EQ(stacked(lower > 0 ? &below : nullptr, layer), device.bytes) << lower << " " << upper;
    }
  }
}

// Random devices: stacked, the layer gives what was there. However one content became the other, the layer is the same.
TEST_F(DeviceLayerTest, DependsOnTheTwoContentsAlone) {
  const auto some = [&](std::size_t limit) { return test::below(random_, limit); };
  for (int round = 0; round < 40; ++round) {
    const std::size_t size = 600 * kBlock + some(8) * kSectorSize;
    MemoryDevice below(Data(size), round % 2 == 0);
    MemoryDevice device(Data(size), round % 3 == 0);
    for (int i = 0; i < 20; ++i) {
      const std::size_t at = some(size / kSectorSize) * kSectorSize;
      const std::size_t length = std::min((1 + some(200)) * kSectorSize, size - at);
      std::ranges::copy(test::random_bytes(random_, length), below.bytes.begin() + static_cast<std::ptrdiff_t>(at));
    }
    device.bytes = below.bytes;
    lsmt::SectorSet written;
    for (int i = 0; i < 30; ++i) {
      const std::size_t at = some(size / kSectorSize) * kSectorSize;
      const std::size_t length = std::min((1 + some(100)) * kSectorSize, size - at);
      const Data what = i % 3 == 0 ? Data(length) : test::random_bytes(random_, length);
      std::ranges::copy(what, device.bytes.begin() + static_cast<std::ptrdiff_t>(at));
      written.insert({{at / kSectorSize}, {(at + length) / kSectorSize}});
    }
    const MemoryDevice other(device.bytes, round % 3 != 0);
    const DeviceLayer layer = write(device, &below, written);
    EXPECT_EQ(write(other, &below, all_sectors(other)).descriptor.digest, layer.descriptor.digest);
    EXPECT_EQ(stacked(&below, layer), device.bytes);
    EXPECT_EQ(stacked(nullptr, write(device, nullptr, all_sectors(device))), device.bytes);
  }
}

TEST_F(DeviceLayerTest, IsNamedAfterItsContentAndWhatIsBelow) {
  const MemoryDevice one(test::random_bytes(random_, 8 * kBlock));
  const MemoryDevice two(test::random_bytes(random_, 8 * kBlock));
  const lsmt::Uuid parent = lsmt::Uuid::of(Digest::of(one.bytes));
  const DeviceLayer layer = write(one, nullptr, all_sectors(one), {.parent = parent, .message = "a message"});
  EXPECT_EQ(
      open(layer).layer.info(),
      (lsmt::LayerInfo{.virtual_size = {8 * kBlock}, .uuid = layer.uuid, .parent = parent, .user_tag = "a message"}));
  EXPECT_FALSE(layer.uuid.is_null());
  EXPECT_NE(write(one, nullptr, all_sectors(one)).uuid, layer.uuid);
  EXPECT_NE(write(two, nullptr, all_sectors(two), {.parent = parent}).uuid, layer.uuid);
  std::string words;
  while (words.size() < 300) words += "ü€";
  const DeviceLayer tagged = write(one, nullptr, all_sectors(one), {.parent = {}, .message = words});
  EXPECT_EQ(open(tagged).layer.info().user_tag, words.substr(0, 255));
}

TEST_F(DeviceLayerTest, ReadsThatFailAndAWishToStopEndIt) {
  const MemoryDevice below(test::random_bytes(random_, 64 * kBlock));
  MemoryDevice device(test::random_bytes(random_, 64 * kBlock));
  const auto changes = must(DeviceChanges::find(device, &below, all_sectors(device), {}, [](Bytes) {}));
  std::stop_source stopping;
  stopping.request_stop();
  const ReadContext stopped{.stop = stopping.get_token()};
  test::expect_error(DeviceChanges::find(device, &below, all_sectors(device), stopped, [](Bytes) {}),
                     ErrorCode::kCancelled, "stopped");
  test::expect_error(write_device_layer(device, changes, {}, store_, *workers_, stopped, [](Bytes) {}),
                     ErrorCode::kCancelled, "stopped");
  device.fails = true;
  test::expect_error(DeviceChanges::find(device, &below, all_sectors(device), {}, [](Bytes) {}), ErrorCode::kIo,
                     "bad sector");
  test::expect_error(write_device_layer(device, changes, {}, store_, *workers_, {}, [](Bytes) {}), ErrorCode::kIo,
                     "bad sector");
  EXPECT_TRUE(store_.blobs.empty());
}

}  // namespace
}  // namespace dadi::pipeline
