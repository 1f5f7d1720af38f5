#include "runtime/device/image_device.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/format/test_support.h"
#include "tests/runtime/faulty_blob.h"

namespace dadi::runtime {
namespace {

using test::blob_of;
using test::Data;
using test::expect_error;
using test::make_layer;
using test::must;
using test::Random;

constexpr std::uint64_t kSectors = 4096;  // of the devices here: 2 MiB

Data random_layer(Random& random) {
  return make_layer({.virtual_size = {kSectors * kSectorSize}}, [&](lsmt::LayerWriter& writer) {
    for (int i = 0; i < 20; ++i) {
      const std::uint64_t at = test::below(random, kSectors - 300);
      const std::uint64_t length = 1 + test::below(random, 300);
      if (i % 5 == 0)
        must(writer.write_zeroes({at}, {length}));
      else
        must(writer.write({at}, test::mixed_bytes(random, length * kSectorSize)));
    }
  });
}

// Layers in every legal form, by turns.
std::vector<SharedBlob> random_layers(Random& random, std::size_t count) {
  std::vector<SharedBlob> blobs;
  for (std::size_t i = 0; i < count; ++i) {
    Data layer = random_layer(random);
    if (i % 3 != 0) layer = test::make_zfile(layer, {.block_size = 4096U << i % 4});
    if (i % 4 != 0) layer = test::make_envelope(layer);
    blobs.push_back(blob_of(std::move(layer)));
  }
  return blobs;
}

std::vector<DeviceLayer> named(const std::vector<SharedBlob>& blobs) {
  std::vector<DeviceLayer> layers;
  for (const SharedBlob& blob : blobs) layers.push_back({fmt::format("blob {}", layers.size()), blob});
  return layers;
}

// Reads `device` in `threads` threads at once, at random, and compares with `whole`.
void expect_reads(const ImageDevice& device, const Data& whole, std::size_t threads) {
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> readers;
  for (std::size_t t = 0; t < threads; ++t) {
    readers.emplace_back([&, t] {
      Random random(t);
      for (int i = 0; i < 100; ++i) {
        const Sectors at{test::below(random, kSectors)};
        const std::uint64_t most = kSectors - at.value;
        const std::uint64_t length = i % 4 == 0 ? test::below(random, most + 1) : std::min<std::uint64_t>(most, 8);
        Data out(length * kSectorSize, std::byte{0xCC});
        const auto result = device.read_at(at, out);
        const auto* expected = whole.data() + to_bytes(at).value;
        if (!result || !std::equal(out.begin(), out.end(), expected)) ++wrong;
      }
    });
  }
  readers.clear();
  EXPECT_EQ(wrong, 0);
}

TEST(ImageDevice, ReadsWhatTheStackOfItsLayersReads) {
  WorkerPool computing("compute", 2);
  WorkerPool waiting("wait", 4);
  for (const std::size_t count : {1, 2, 7, 20}) {
    Random random(count);
    const auto blobs = random_layers(random, count);
    const auto stack = test::stack_of(blobs);
    const Data whole = test::all_of(*stack);
    for (const bool threads : {false, true}) {
      DeviceOptions options;
      options.memory = {count % 2 == 0 ? 0U : 500000U};
      if (threads) options.computing = &computing;
      if (threads) options.waiting = &waiting;
      const auto device = must(ImageDevice::open(named(blobs), options, {}));
      ASSERT_EQ(device->size(), stack->size());
      EXPECT_EQ(test::first_difference(*device, *stack), std::nullopt);
      expect_reads(*device, whole, threads ? 4 : 1);
    }
  }
}

TEST(ImageDevice, TakesALayerThatIsOpenAlready) {
  const Data layer = make_layer({.virtual_size = {8192}}, [](lsmt::LayerWriter& writer) {
    must(writer.write({0}, Data(16 * kSectorSize, std::byte{7})));
  });
  std::vector<DeviceLayer> layers;
  layers.push_back({"upper", must(lsmt::LayerReader::open(blob_of(layer)))});
  const auto device = must(ImageDevice::open(std::move(layers), {}, {}));
  Data out(8192);
  must(device->read_at({0}, out));
  EXPECT_EQ(out, Data(8192, std::byte{7}));
}

TEST(ImageDevice, NamesTheLayerThatCannotBeOpened) {
  Random random(3);
  auto blobs = random_layers(random, 30);
  blobs[17] = blob_of(Data(5000, std::byte{1}));
  expect_error(ImageDevice::open(named(blobs), {}, {}), ErrorCode::kCorruption, "blob 17: neither a tar envelope");
  expect_error(ImageDevice::open({}, {}, {}), ErrorCode::kInvalidArgument, "0 layers");
}

TEST(ImageDevice, OpensNothingAfterAStopOrADeadline) {
  Random random(3);
  const auto blobs = random_layers(random, 3);
  std::stop_source stop;
  stop.request_stop();
  expect_error(ImageDevice::open(named(blobs), {}, {.stop = stop.get_token()}), ErrorCode::kCancelled, "stopped");
  const ReadContext late{.stop = {}, .deadline = std::chrono::steady_clock::now()};
  expect_error(ImageDevice::open(named(blobs), {}, late), ErrorCode::kUnavailable, "no answer within");
  const auto device = must(ImageDevice::open(named(blobs), {}, {}));
  Data out(512);
  expect_error(device->read_at({0}, out, late), ErrorCode::kUnavailable, "no answer within");
  expect_error(device->read_at({0}, out, {.stop = stop.get_token()}), ErrorCode::kCancelled, "stopped");
}

TEST(ImageDevice, CountsReadsAndErrorsAndTellsOfThem) {
  Data layer = test::make_zfile(make_layer({.virtual_size = {16384}}, [](lsmt::LayerWriter& writer) {
    must(writer.write({0}, Data(32 * kSectorSize, std::byte{7})));
  }));
  layer[must(zfile::Reader::open(blob_of(layer)))->stored_range(2).offset.value] ^= std::byte{1};
  std::vector<std::string> told;
  DeviceOptions options;
  options.on_error = [&](const Error& error) { told.push_back(error.message()); };
  const auto device = must(ImageDevice::open(named({blob_of(layer)}), options, {}));
  Data out(4096);
  must(device->read_at({0}, out));
  must(device->read_at({16}, out));
  expect_error(device->read_at({8}, out), ErrorCode::kCorruption, "blob 0: zfile block 2: checksum");
  const DeviceStats stats = device->stats();
  EXPECT_EQ(stats.reads, 2U);
  EXPECT_EQ(stats.bytes, Bytes{8192});
  EXPECT_EQ(stats.errors, 1U);
  EXPECT_EQ(stats.corruptions, 1U);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_NE(told[0].find("blob 0: zfile block 2: checksum"), std::string::npos);
}

TEST(LatencyHistogram, TellsQuantilesWithinAFactorOfTwo) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.snapshot().quantile(0.5).count(), 0);
  for (int i = 1; i <= 1000; ++i) histogram.add(std::chrono::microseconds(i));
  histogram.add(std::chrono::hours(24));
  const auto snapshot = histogram.snapshot();
  EXPECT_EQ(snapshot.count(), 1001U);
  for (const double part : {0.01, 0.5, 0.9, 0.99}) {
    const double exact = part * 1001 * 1000;
    const auto found = static_cast<double>(snapshot.quantile(part).count());
    EXPECT_GE(found, exact);
    EXPECT_LE(found, 2 * exact);
  }
}

TEST(ImageDevice, TellsHowManyReadsAreUnderWay) {
  const auto blob = std::make_shared<test::FaultyBlob>(make_layer({.virtual_size = {1U << 20}}, [](auto& writer) {
    Random random(1);
    must(writer.write({0}, test::random_bytes(random, 1U << 20)));
  }));
  const auto device = must(ImageDevice::open({{"the layer", blob}}, {}, {}));
  EXPECT_EQ(device->stats().under_way, 0U);
  blob->stall(true);
  {
    std::vector<std::jthread> readers;
    for (unsigned i = 0; i < 3; ++i) {
      readers.emplace_back([&device, i] {
        Data out(4096);
        must(device->read_at({i * 8U}, out));
      });
    }
    blob->await_readers(3);
    EXPECT_EQ(device->stats().under_way, 3U);
    EXPECT_EQ(device->stats().reads, 0U);
    blob->stall(false);
  }
  EXPECT_EQ(device->stats().under_way, 0U);
  EXPECT_EQ(device->stats().reads, 3U);
}

}  // namespace
}  // namespace dadi::runtime
