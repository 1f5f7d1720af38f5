// The ends of a far layer are fetched at once, and what opening reads of them costs no more round trips.
#include "runtime/device/opening_blob.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/format/test_support.h"
#include "tests/runtime/faulty_blob.h"

namespace dadi::runtime {
namespace {

using test::Data;
using test::expect_error;
using test::FaultyBlob;
using test::must;
using test::Random;

constexpr std::size_t kSize = 8U << 20;

Data some_bytes(std::size_t size) {
  Random random(3);
  Data data(size);
  for (std::byte& byte : data) byte = static_cast<std::byte>(random());
  return data;
}

struct OpeningBlobTest : testing::Test {
  void expect(Bytes offset, std::size_t size, const ReadContext& context = {}) const {
    Data out(size);
    must(opening->read_at(offset, out, context));
    EXPECT_TRUE(std::equal(out.begin(), out.end(), data.begin() + static_cast<std::ptrdiff_t>(offset.value)));
  }

  // They have arrived then.
  void expect_both_ends() const {
    expect({0}, 512);
    expect({kSize - 512}, 512);
  }

  const Data data = some_bytes(kSize);
  const std::shared_ptr<FaultyBlob> far = std::make_shared<FaultyBlob>(data);
  WorkerPool pool{"test-open", 4};
  std::shared_ptr<const OpeningBlob> opening = OpeningBlob::start(far, pool, {});
};

TEST_F(OpeningBlobTest, TwoReadsAtOnceBringBothEnds) {
  const Bytes tail = OpeningBlob::tail_size({kSize});
  for (const Bytes at : {Bytes{0}, Bytes{4096}, Bytes{kSize} - tail, Bytes{kSize - 512}}) expect(at, 512);
  EXPECT_EQ(far->reads(), 2);
}

TEST_F(OpeningBlobTest, AGuessThatIsShortCostsOneReadMore) {
  expect_both_ends();
  const Bytes tail = OpeningBlob::tail_size({kSize});
  const Bytes at = Bytes{kSize} - tail - Bytes{1000};
  expect(at, 4096);  // half of it is there
  for (int i = 0; i < 10; ++i) expect(at - Bytes{static_cast<std::uint64_t>(i) * 4096}, 4096);
  EXPECT_EQ(far->reads(), 3);
  expect(OpeningBlob::head_size({kSize}) - Bytes{100}, 4096);
  EXPECT_EQ(far->reads(), 4);
}

TEST_F(OpeningBlobTest, ASmallBlobIsOneRead) {
  const auto small = std::make_shared<FaultyBlob>(Data(data.begin(), data.begin() + 20'000));
  opening = OpeningBlob::start(small, pool, {});
  expect({0}, 20'000);
  expect({10'000}, 5'000);
  EXPECT_EQ(small->reads(), 1);
}

TEST_F(OpeningBlobTest, ReadsGoToTheBlobOnceItIsOpen) {
  expect_both_ends();
  opening->finish();
  expect({0}, 512);
  expect({kSize / 2}, 4096);
  EXPECT_EQ(far->reads(), 4);
}

TEST_F(OpeningBlobTest, WhatWasDamagedIsFetchedAnewOnce) {
  ReadContext anew;
  anew.anew = true;
  expect_both_ends();
  expect({0}, 512, anew);
  expect({kSize - 512}, 512, anew);
  EXPECT_EQ(far->reads(), 4);
}

TEST_F(OpeningBlobTest, WhatIsNotNeededAnyMoreIsGivenUp) {
  const auto stalled = std::make_shared<FaultyBlob>(data);
  stalled->stall(true);
  const auto own = std::make_unique<WorkerPool>("test-open", 4);
  const auto kept = OpeningBlob::start(stalled, *own, {});  // by the device, say
  stalled->await_readers(2);
  kept->finish();
  stalled->await_no_readers();  // else for ever
}

TEST_F(OpeningBlobTest, AReadThatIsStoppedDoesNotWaitForTheBlob) {
  const auto stalled = std::make_shared<FaultyBlob>(data);
  stalled->stall(true);
  std::stop_source stop;
  ReadContext context;
  context.stop = stop.get_token();
  opening = OpeningBlob::start(stalled, pool, context);
  stalled->await_readers(2);
  std::jthread stopper([&] { stop.request_stop(); });
  Data out(512);
  expect_error(opening->read_at({0}, out, context), ErrorCode::kCancelled, "");
}

}  // namespace
}  // namespace dadi::runtime
