// What goes wrong with a blob is an error of the range that it holds: no other bytes, no hang, nothing elsewhere.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "runtime/device/image_device.h"
#include "tests/format/test_support.h"
#include "tests/runtime/calmest.h"
#include "tests/runtime/faulty_blob.h"

namespace dadi::runtime {
namespace {

using std::chrono::milliseconds;
using test::blob_of;
using test::Data;
using test::expect_error;
using test::FaultyBlob;
using test::must;
using test::Random;
using Clock = std::chrono::steady_clock;

constexpr Sectors kChunk{8};  // 4 KiB

// Layers as other tools wrote them: the one that is damaged, and how its blocks are found.
Data golden(const std::string& name) {
  return test::read_file(test::testdata() / "golden" / name);
}
const std::vector<std::string> kForms{"append/1/overlaybd.commit", "append/1/zstd-bs16.zfile",
                                      "crafted/shuffled.zfile"};

Result<std::unique_ptr<ImageDevice>> open_device(const SharedBlob& blob, DeviceOptions options = {}) {
  std::vector<DeviceLayer> layers;
  layers.push_back({"the layer", blob});
  return ImageDevice::open(std::move(layers), std::move(options), {});
}

// Chunks of the device that hold data, and what is in them.
struct Content {
  std::vector<Sectors> at;
  std::vector<Data> bytes;
};

Content content_of(const BlockReader& device) {
  Content content;
  for (Sectors at{}; at < device.size();) {
    const Extent extent = must(device.next_extent(at));
    for (Sectors i{}; extent.kind == Extent::Kind::kData && i + kChunk <= extent.length; i += kChunk) {
      content.at.push_back(at + i);
      must(device.read_at(at + i, content.bytes.emplace_back(to_bytes(kChunk).value)));
    }
    at += extent.length;
  }
  return content;
}

// Reads all chunks: each is right, or fails with one of `codes` and the layer's name. Returns how many failed.
std::size_t count_failures(const BlockReader& device, const Content& content, const std::vector<ErrorCode>& codes) {
  std::size_t failed = 0;
  for (std::size_t i = 0; i < content.at.size(); ++i) {
    Data out(to_bytes(kChunk).value);
    const auto result = device.read_at(content.at[i], out);
    if (result) {
      EXPECT_TRUE(out == content.bytes[i]) << "other bytes at sector " << content.at[i].value;
    } else {
      ++failed;
      EXPECT_EQ(std::count(codes.begin(), codes.end(), result.error().code()), 1) << result.error().message();
      EXPECT_TRUE(result.error().message().starts_with("the layer: ")) << result.error().message();
    }
  }
  return failed;
}

// Where the ZFile is in a layer file, and the ZFile.
struct Wrapped {
  Bytes offset{};
  std::shared_ptr<const zfile::Reader> blocks;
};
Wrapped unwrap(const Data& blob) {
  const LayerFile file = must(open_layer_file(blob_of(blob)));
  return {file.envelope ? file.envelope->offset : Bytes{}, file.blocks};
}

TEST(DeviceFaults, AFlippedBitInABlockFailsThatBlockAloneAndIsNamed) {
  for (const std::string& form : kForms) {
    const Data blob = golden(form);
    const Wrapped wrapped = unwrap(blob);
    const Content content = content_of(*must(open_device(blob_of(blob))));
    const std::size_t chunks_in_block = std::max<std::size_t>(wrapped.blocks->info().block_size / 4096, 1);
    Random random(1);
    for (int i = 0; i < 5; ++i) {
      // Neither the first blocks nor the last, which hold the layer's header, index and trailer.
      const std::uint64_t blocks = wrapped.blocks->info().blocks;
      const std::uint64_t block = 1 + test::below(random, blocks - blocks / 4 - 2);
      const auto stored = wrapped.blocks->stored_range(block);
      Data damaged = blob;
      damaged[(wrapped.offset + stored.offset).value + test::below(random, stored.size.value)] ^= std::byte{4};

      std::vector<std::string> told;
      DeviceOptions options;
      options.on_error = [&](const Error& error) { told.push_back(error.message()); };
      const auto device = must(open_device(blob_of(damaged), options));
      const std::size_t failed = count_failures(*device, content, {ErrorCode::kCorruption});
      EXPECT_GE(failed, 1U) << form << " block " << block;
      EXPECT_LE(failed, chunks_in_block + 1) << form << " block " << block;
      EXPECT_EQ(device->stats().corruptions, failed);
      ASSERT_EQ(told.size(), failed);
      for (const auto& message : told)
        EXPECT_TRUE(message.starts_with(fmt::format("the layer: zfile block {}: checksum", block))) << message;
    }
  }
}

TEST(DeviceFaults, AFlippedBitInHeaderJumpTableOrTrailerIsFoundAtOpening) {
  for (const std::string& form : kForms) {
    const Data blob = golden(form);
    const Wrapped wrapped = unwrap(blob);
    const auto& info = wrapped.blocks->info();
    const auto last = wrapped.blocks->stored_range(info.blocks - 1);
    const std::size_t start = wrapped.offset.value;
    const std::size_t table = start + (last.offset + last.size).value;
    const std::size_t trailer = start + info.stored_size.value - 512;
    const Content content = content_of(*must(open_device(blob_of(blob))));
    std::size_t refused = 0;
    std::size_t tried = 0;
    const auto flip = [&](std::size_t at) {
      Data damaged = blob;
      damaged[at] ^= std::byte{2};
      const auto device = open_device(blob_of(damaged));
      ++tried;
      if (device) {
        EXPECT_EQ(count_failures(**device, content, {}), 0U) << form << " byte " << at;
        return;
      }
      ++refused;
      EXPECT_EQ(device.error().code(), ErrorCode::kCorruption) << device.error().message();
      EXPECT_TRUE(device.error().message().starts_with("the layer: ")) << device.error().message();
    };
    for (std::size_t i = 0; i < 96; i += 7) flip(start + i), flip(trailer + i);  // the fields of both records
    for (std::size_t at = table; at < trailer; at += 1 + (trailer - table) / 10) flip(at);
    EXPECT_GT(refused, tried / 2) << form;
  }
}

// The ZFile's blocks that hold the index of the layer in it.
std::vector<std::uint64_t> blocks_of_index(const Data& blob, std::size_t block_size) {
  const SharedBlob layer = must(open_layer_file(blob_of(blob))).unwrapped;
  const Data trailer = must(read_range(*layer, layer->size() - Bytes{lsmt::kHeaderSize}, Bytes{lsmt::kHeaderSize}));
  const lsmt::Header header = must(lsmt::decode_header(trailer));
  std::vector<std::uint64_t> blocks;
  const std::uint64_t end = header.index_offset.value + header.index_size * lsmt::kRecordSize;
  for (std::uint64_t at = header.index_offset.value / block_size; at * block_size < end; ++at) blocks.push_back(at);
  return blocks;
}

TEST(DeviceFaults, AFlippedBitInTheLayersOwnHeaderIndexOrTrailerIsFoundAtOpening) {
  for (const std::string& form : kForms) {
    const Data blob = golden(form);
    const Wrapped wrapped = unwrap(blob);
    std::vector<std::uint64_t> blocks = blocks_of_index(blob, wrapped.blocks->info().block_size);
    ASSERT_FALSE(blocks.empty());
    blocks.insert(blocks.end(), {0, wrapped.blocks->info().blocks - 1});  // header and trailer
    for (const std::uint64_t block : blocks) {
      const auto stored = wrapped.blocks->stored_range(block);
      Data damaged = blob;
      damaged[(wrapped.offset + stored.offset).value + stored.size.value / 2] ^= std::byte{1};
      expect_error(open_device(blob_of(damaged)), ErrorCode::kCorruption,
                   fmt::format("the layer: zfile block {}: checksum", block));
    }
  }
}

TEST(DeviceFaults, ABlobThatIsCutShortIsRefusedAtOpening) {
  for (const std::string& form : kForms) {
    const Data blob = golden(form);
    const std::size_t end = unwrap(blob).offset.value + unwrap(blob).blocks->info().stored_size.value;
    Random random(2);
    for (int i = 0; i < 30; ++i) {
      const std::size_t size = i == 0 ? 0 : i == 1 ? end - 1 : test::below(random, end);
      const auto device = open_device(blob_of(Data(blob.begin(), blob.begin() + static_cast<std::ptrdiff_t>(size))));
      ASSERT_FALSE(device) << form << " cut at " << size;
      EXPECT_TRUE(device.error().message().starts_with("the layer: ")) << device.error().message();
    }
  }
}

TEST(DeviceFaults, AFileThatIsCutShortUnderTheDeviceFailsBehindTheCutAlone) {
  const test::TemporaryFolder folder;
  for (const std::string& form : kForms) {
    const Data blob = golden(form);
    const auto path = folder.path() / "layer";
    test::write_file(path, blob);
    DeviceOptions options;
    options.memory = {0};
    const auto device = must(open_device(must(FileBlob::open(path)), options));
    const Content content = content_of(*device);
    ASSERT_EQ(::truncate(path.c_str(), static_cast<off_t>(blob.size() / 2)), 0);
    const std::size_t failed = count_failures(*device, content, {ErrorCode::kIo});
    EXPECT_GT(failed, 0U);
    EXPECT_LT(failed, content.at.size());
    test::write_file(path, blob);  // and it is all there again
    EXPECT_EQ(count_failures(*device, content, {}), 0U);
  }
}

TEST(DeviceFaults, ABlobThatIsSwappedUnderTheDeviceGivesErrorsAndNoOtherBytes) {
  for (const std::string& form : kForms) {
    const Data blob = golden(form);
    const auto faulty = std::make_shared<FaultyBlob>(blob);
    const auto device = must(open_device(faulty));
    const Content content = content_of(*must(open_device(blob_of(blob))));
    Data out(to_bytes(kChunk).value);
    must(device->read_at(content.at[0], out));  // is in the cache now

    for (const std::string& other : kForms) {
      if (other == form) continue;
      Data swapped = golden(other);
      swapped.resize(blob.size());
      faulty->replace(swapped);
      const std::size_t failed = count_failures(*device, content, {ErrorCode::kCorruption});
      EXPECT_GE(failed, content.at.size() / 2) << form << " swapped for " << other;
      must(device->read_at(content.at[0], out));
      EXPECT_EQ(out, content.bytes[0]);
    }
    faulty->replace(Data(blob.begin(), blob.begin() + 1000));  // cut short
    EXPECT_GT(count_failures(*device, content, {ErrorCode::kIo}), content.at.size() / 2);
    faulty->replace(blob);
    EXPECT_EQ(count_failures(*device, content, {}), 0U);
  }
}

class Stalled : public testing::Test {
 protected:
  // Two layers, each a megabyte; the lower one is about to stall.
  void SetUp() override {
    Random random(9);
    const auto layer = [&](Sectors at) {
      return test::make_zfile(test::make_layer({.virtual_size = {4U << 20}}, [&](lsmt::LayerWriter& writer) {
        must(writer.write(at, test::mixed_bytes(random, 1U << 20)));
      }));
    };
    lower_ = std::make_shared<FaultyBlob>(layer({0}));
    std::vector<DeviceLayer> layers;
    layers.push_back({"lower", lower_});
    layers.push_back({"upper", blob_of(layer({4096}))});
    DeviceOptions options;
    options.computing = &computing_;
    options.waiting = &waiting_;
    device_ = must(ImageDevice::open(std::move(layers), options, {}));
    whole_ = test::all_of(*device_);
  }

  bool is_right(Sectors at, std::size_t size, const ReadContext& context) const {
    Data out(size);
    const auto result = device_->read_at(at, out, context);
    return result &&
           std::equal(out.begin(), out.end(), whole_.begin() + static_cast<std::ptrdiff_t>(to_bytes(at).value));
  }
  ReadContext within(milliseconds time) const { return {.stop = {}, .deadline = Clock::now() + time}; }

  // The blocks in sectors [0, 256) are in the cache, those behind are not.
  void warm_up() {
    device_->trim(Clock::time_point(std::chrono::hours(1)));
    device_->trim(Clock::time_point(std::chrono::hours(2)));  // empty
    for (std::uint64_t at = 0; at < 256; at += 8) ASSERT_TRUE(is_right({at}, 4096, {}));
  }

  std::shared_ptr<FaultyBlob> lower_;
  WorkerPool computing_{"compute", 2};
  WorkerPool waiting_{"wait", 16};
  std::unique_ptr<ImageDevice> device_;
  Data whole_;
};

TEST_F(Stalled, ReadsThatMemoryCanAnswerDoNotWaitForTheStalledOnes) {
  warm_up();
  lower_->stall(true);
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> stuck;
    const auto get_stuck = [&](Sectors at, std::size_t size) {
      stuck.emplace_back([&, at, size] { wrong += is_right(at, size, within(std::chrono::minutes(1))) ? 0 : 1; });
    };
    for (const std::uint64_t at : {256, 320, 384, 448}) get_stuck({at}, 4096);
    for (const std::uint64_t at : {512, 1024, 1536}) get_stuck({at}, 262144);
    lower_->await_readers(7);

    std::vector<Clock::duration> times;
    for (std::uint64_t i = 0; i < 2000; ++i) {
      const auto start = Clock::now();
      // By turns from the cache, from the other layer, and zeros.
      const Sectors at{i % 3 == 0 ? i % 32 * 8 : i % 3 == 1 ? 4096 + i % 128 * 8 : 7000};
      ASSERT_TRUE(is_right(at, 4096, {.stop = {}, .memory_only = i % 2 == 0})) << "sector " << at.value;
      times.push_back(Clock::now() - start);
    }
    ASSERT_TRUE(is_right({4096}, 1U << 20, {}));
    const auto p99 = test::calmest_p99(times);
    RecordProperty("p99_us", static_cast<int>(p99 / std::chrono::microseconds(1)));
    EXPECT_LT(p99, test::kSoon);
    EXPECT_EQ(wrong, 0);  // so far nobody came back
    lower_->stall(false);
  }
  EXPECT_EQ(wrong, 0);
}

TEST_F(Stalled, ADeadlineEndsThemAndAStopDoes) {
  warm_up();
  lower_->stall(true);
  Data out(1U << 20);
  for (const std::size_t size : {std::size_t{4096}, out.size()}) {
    const auto part = std::span(out).first(size);
    expect_error(device_->read_at({512}, part, {.stop = {}, .memory_only = true}), ErrorCode::kWouldBlock, "");
    const auto start = Clock::now();
    expect_error(device_->read_at({512}, part, within(milliseconds(30))), ErrorCode::kUnavailable, "lower: ");
    EXPECT_GE(Clock::now() - start, milliseconds(30));

    std::stop_source stop;
    std::jthread reader([&] {
      expect_error(device_->read_at({512}, part, {.stop = stop.get_token()}), ErrorCode::kCancelled, "lower: ");
    });
    lower_->await_readers(1);
    stop.request_stop();
  }
  lower_->stall(false);
  EXPECT_TRUE(is_right({0}, 2U << 20, {}));
}

TEST_F(Stalled, ABlockThatManyWaitForIsFetchedOnce) {
  warm_up();
  lower_->stall(true);
  const int before = lower_->reads();
  std::atomic<int> right = 0;
  {
    std::vector<std::jthread> readers;
    for (int i = 0; i < 8; ++i) readers.emplace_back([&] { right += is_right({1024}, 4096, {}) ? 1 : 0; });
    lower_->await_readers(1);
    std::this_thread::sleep_for(milliseconds(20));  // for the others to come
    lower_->stall(false);
  }
  EXPECT_EQ(right, 8);
  EXPECT_EQ(lower_->reads() - before, 1);
}

TEST_F(Stalled, WhoWaitsForAnothersFetchDoesNotShareItsFailure) {
  warm_up();
  lower_->stall(true);
  std::jthread hasty([&] {
    Data out(4096);
    expect_error(device_->read_at({1024}, out, within(milliseconds(50))), ErrorCode::kUnavailable, "lower: ");
  });
  lower_->await_readers(1);
  std::jthread patient([&] { EXPECT_TRUE(is_right({1024}, 4096, {})); });
  Data out(4096);  // one that waits for a fetch keeps to its own deadline
  expect_error(device_->read_at({1024}, out, within(milliseconds(5))), ErrorCode::kUnavailable, "lower: ");
  hasty.join();
  lower_->stall(false);
}

}  // namespace
}  // namespace dadi::runtime
