#include "runtime/device/replay.h"

#include <gtest/gtest.h>

#include <future>

#include "runtime/device/recorder.h"
#include "tests/format/test_support.h"

namespace dadi::runtime {
namespace {

using Clock = std::chrono::steady_clock;

using test::blob_of;
using test::Data;
using test::must;
using test::Random;

constexpr std::uint64_t kBlock = 4096;
constexpr Bytes kPlenty{1U << 30};

// A layer whose blocks do not shrink: each is stored in a little more than it has.
StoredLayer compressed(std::size_t blocks) {
  Random random(blocks);
  const Data raw = test::random_bytes(random, blocks * kBlock);
  return {must(zfile::Reader::open(blob_of(test::make_zfile(raw)))), nullptr, nullptr};
}

std::vector<StoredPiece> plan(std::vector<trace::Read> reads, const std::vector<StoredLayer>& layers,
                              Bytes budget = kPlenty) {
  return plan_replay(reads, layers, budget);
}

trace::Read block(std::uint32_t layer, std::uint64_t number, std::uint64_t count = 1) {
  return {layer, {number * kBlock}, {count * kBlock}};
}

TEST(PlanReplay, NamesWhereBlocksAreStored) {
  const std::vector<StoredLayer> layers = {compressed(100)};
  const auto pieces = plan({{0, {3 * kBlock + 10}, {1}}}, layers);
  ASSERT_EQ(pieces.size(), 1U);
  const auto stored = layers[0].blocks->stored_range(3);
  EXPECT_EQ(pieces[0], (StoredPiece{0, stored.offset, stored.size}));
}

TEST(PlanReplay, OfAnUncompressedLayerThePlaceIsTheSame) {
  const std::vector<StoredLayer> layers = {{nullptr, blob_of(Data(100 * kBlock)), nullptr}};
  EXPECT_EQ(plan({{0, {5000}, {700}}}, layers), (std::vector<StoredPiece>{{0, {5000}, {700}}}));
}

TEST(PlanReplay, JoinsNeighboursAndFetchesNothingTwice) {
  const std::vector<StoredLayer> layers = {compressed(1000)};
  const auto pieces = plan({block(0, 7), block(0, 500), block(0, 5, 2), block(0, 7), block(0, 8)}, layers);
  ASSERT_EQ(pieces.size(), 2U);
  EXPECT_EQ(pieces[0].offset, layers[0].blocks->stored_range(5).offset);
  const auto last = layers[0].blocks->stored_range(8);
  EXPECT_EQ(pieces[0].offset + pieces[0].size, last.offset + last.size);
  EXPECT_EQ(pieces[1].offset, layers[0].blocks->stored_range(500).offset);
}

TEST(PlanReplay, KeepsTheOrderOfWhatLiesFarApartInTime) {
  const std::vector<StoredLayer> layers = {compressed(4000), compressed(2000)};
  const auto pieces = plan({block(1, 0, 1500), block(0, 3000, 10), block(0, 0, 1500)}, layers);
  ASSERT_GE(pieces.size(), 3U);
  EXPECT_EQ(pieces.front().layer, 1U) << "it fills a window by itself";
  for (const StoredPiece& piece : pieces) EXPECT_LE(piece.size, trace::kLongestRead + Bytes{256 * 64});
}

TEST(PlanReplay, LeavesOutWhatNoLayerHas) {
  const std::vector<StoredLayer> layers = {compressed(10)};
  EXPECT_EQ(plan({block(1, 0), block(7, 0), block(0, 10), {0, {~0ULL >> 2}, {5}}}, layers).size(), 0U);
  const auto clipped = plan({{0, {9 * kBlock}, {~0ULL >> 2}}}, layers);
  ASSERT_EQ(clipped.size(), 1U);
  EXPECT_EQ(clipped[0].size, layers[0].blocks->stored_range(9).size);
}

TEST(PlanReplay, KeepsToItsBudgetWhateverIsAskedFor) {
  const std::vector<StoredLayer> layers = {compressed(4000)};
  std::vector<trace::Read> reads(1000, {0, {}, {~0ULL >> 2}});
  Bytes planned{};
  for (const StoredPiece& piece : plan(std::move(reads), layers, {3U << 20})) planned += piece.size;
  EXPECT_GE(planned, Bytes{3U << 20});
  EXPECT_LE(planned, Bytes{5U << 20});
}

// Counts the bytes of prefetches.
class CountedBlob final : public BlobReader {
 public:
  CountedBlob(SharedBlob blob, std::atomic<std::uint64_t>& prefetched, bool fails)
      : blob_(std::move(blob)), prefetched_(prefetched), fails_(fails) {}
  Bytes size() const override { return blob_->size(); }
  Result<void> read_at(Bytes offset, std::span<std::byte> out, const ReadContext& context) const override {
    if (context.read_class == ReadClass::kPrefetch) prefetched_ += out.size();
    if (context.read_class == ReadClass::kPrefetch && fails_) return Error::unavailable("gone");
    return blob_->read_at(offset, out, context);
  }

 private:
  const SharedBlob blob_;
  std::atomic<std::uint64_t>& prefetched_;
  const bool fails_;
};

class ReplayTest : public ::testing::Test {
 protected:
  std::shared_ptr<ImageDevice> open(bool fails, std::shared_ptr<Recorder> recorder = nullptr, bool accounted = false) {
    const Data layer = test::make_layer({.virtual_size = {16U << 20}}, [](lsmt::LayerWriter& writer) {
      Random random(1);
      must(writer.write({0}, test::random_bytes(random, 16U << 20)));
    });
    SharedBlob blob = std::make_shared<CountedBlob>(blob_of(test::make_zfile(layer)), prefetched_, fails);
    DeviceOptions options;
    options.recorder = std::move(recorder);
    options.accounted = accounted;
    return must(ImageDevice::open({{"the layer", std::move(blob)}}, std::move(options), {}));
  }
  static Replay::Source source(std::vector<trace::Read> reads) {
    return [reads = std::move(reads)](const std::stop_token&) { return reads; };
  }
  static Replay::Stats now(const Replay& replay) { return replay.stats().value_or(Replay::Stats{}); }
  static Replay::Stats ended(const Replay& replay, std::uint64_t fetched, std::uint64_t failures) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (std::chrono::steady_clock::now() < end &&
           (now(replay).fetched.value < fetched || now(replay).failures < failures))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return now(replay);
  }

  std::atomic<std::uint64_t> prefetched_ = 0;
};

TEST_F(ReplayTest, FetchesWhatWasRecorded) {
  const auto recorder = std::make_shared<Recorder>();
  const auto recorded = open(false, recorder);
  Data out(3U << 20);
  must(recorded->read_at({1000}, out));
  ASSERT_FALSE(recorder->reads().empty());
  EXPECT_EQ(trace::total(recorder->reads()).value, out.size());
  const auto device = open(false);
  const Replay replay(device, source(recorder->reads()), kPlenty);
  const Replay::Stats stats = ended(replay, 3U << 20, 0);
  EXPECT_EQ(stats.fetched, stats.planned);
  EXPECT_GE(stats.fetched.value, out.size());
  EXPECT_EQ(prefetched_, stats.fetched.value);
}

TEST_F(ReplayTest, TellsWhatBecameOfWhatItFetched) {
  const auto device = open(false, nullptr, true);
  const Replay replay(device, source({{0, {1U << 20}, {2U << 20}}, {0, {8U << 20}, {1U << 20}}}), kPlenty);
  const Replay::Stats before = ended(replay, 3U << 20, 0);
  EXPECT_EQ(before.use.hits + before.use.late, Bytes{0});
  EXPECT_EQ(before.use.wasted, before.fetched);
  Data out(16U << 10);
  must(device->read_at({(2U << 20) / kSectorSize}, out));
  const Replay::Stats then = now(replay);
  EXPECT_GE(then.use.hits, Bytes{16U << 10});
  EXPECT_LT(then.use.hits, Bytes{64U << 10});
  EXPECT_EQ(then.use.hits + then.use.wasted, then.fetched);
  out.resize(16U << 20);
  must(device->read_at({0}, out));
  EXPECT_EQ(now(replay).use.hits, then.fetched);
  EXPECT_EQ(now(replay).use.wasted, Bytes{0});
}

TEST_F(ReplayTest, ATraceThatIsOnItsWayIsWaitedForByNobodyElse) {
  const auto device = open(false);
  std::promise<void> arrived;
  auto arrival = arrived.get_future().share();
  const Replay replay(
      device,
      [arrival](const std::stop_token&) {
        arrival.wait();
        return std::vector{block(0, 5)};
      },
      kPlenty);
  EXPECT_FALSE(replay.stats());
  EXPECT_TRUE(replay.start_goes_on(Clock::now() + std::chrono::hours(1)));
  arrived.set_value();
  EXPECT_GT(ended(replay, 1, 0).fetched.value, 0U);
  EXPECT_TRUE(replay.start_goes_on(Clock::now()));
  while (replay.start_goes_on(Clock::now() + std::chrono::minutes(1))) std::this_thread::yield();
}

TEST_F(ReplayTest, WithoutATraceThereIsNothingToTell) {
  const auto device = open(false);
  std::atomic<bool> told_to_stop = false;
  {
    const Replay none(
        device, [](const std::stop_token&) { return std::nullopt; }, kPlenty);
    const Replay waiting(
        device,
        [&](const std::stop_token& stop) {
          while (!stop.stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
          told_to_stop = true;
          return std::nullopt;
        },
        kPlenty);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(none.stats());
    EXPECT_FALSE(none.start_goes_on(Clock::now()));
    EXPECT_FALSE(waiting.stats());
  }
  EXPECT_TRUE(told_to_stop);
  EXPECT_EQ(prefetched_, 0U);
}

TEST_F(ReplayTest, GivesUpWhereNobodyAnswers) {
  const auto device = open(true);
  std::vector<trace::Read> reads;
  for (std::uint64_t i = 0; i < 200; ++i) reads.push_back(block(0, i * 20));
  const Replay replay(device, source(std::move(reads)), kPlenty);
  const Replay::Stats stats = ended(replay, 0, 16);
  EXPECT_GE(stats.failures, 16U);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_LE(now(replay).failures, 32U) << "each of those under way may still fail";
  EXPECT_EQ(now(replay).fetched.value, 0U);
}

}  // namespace
}  // namespace dadi::runtime
