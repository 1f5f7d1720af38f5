#include "runtime/device/prefetch_account.h"

#include <gtest/gtest.h>

#include "tests/format/test_support.h"

namespace dadi::runtime {
namespace {

using test::must;

constexpr std::uint64_t kAccounted = 4096;  // bytes of a block

void run_prefetch(PrefetchAccount& account, Bytes offset, Bytes size) {
  account.fetching(offset, size);
  account.fetched(offset, size);
}

std::array<std::uint64_t, 3> hits_late_wasted(const PrefetchAccount& account) {
  const auto sums = account.sums();
  return {sums.hits.value, sums.late.value, sums.wasted.value};
}

TEST(PrefetchAccount, CountsStoredBytesOfBlocksOnce) {
  test::Random random(1);
  const auto blocks =
      must(zfile::Reader::open(test::blob_of(test::make_zfile(test::random_bytes(random, 200 * kAccounted)))));
  const auto stored = [&](std::uint64_t block) { return blocks->stored_range(block).size.value; };
  PrefetchAccount account(blocks, blocks->size());
  account.asked({70 * kAccounted}, {1});
  const auto first = blocks->stored_range(63);
  const auto last = blocks->stored_range(70);
  run_prefetch(account, first.offset, last.offset + last.size - first.offset);
  run_prefetch(account, last.offset, last.size);  // again
  std::uint64_t unasked = 0;
  for (std::uint64_t block = 63; block < 70; ++block) unasked += stored(block);
  EXPECT_EQ(hits_late_wasted(account), (std::array<std::uint64_t, 3>{0, stored(70), unasked}));
  account.asked({64 * kAccounted + 4095}, {2});  // of two blocks
  account.asked({62 * kAccounted}, {kAccounted});
  account.asked({199 * kAccounted}, {~std::uint64_t{0} / 2});  // past the end, of what nobody prefetched
  EXPECT_EQ(hits_late_wasted(account),
            (std::array<std::uint64_t, 3>{stored(64) + stored(65), stored(70), unasked - stored(64) - stored(65)}));
}

TEST(PrefetchAccount, WhatIsOnItsWayWhenSomebodyAsksIsAHitOnceItIsThere) {
  PrefetchAccount account(nullptr, {10 * kAccounted + 100});
  account.fetching({0}, {kAccounted});
  account.asked({0}, {100});
  EXPECT_EQ(hits_late_wasted(account), (std::array<std::uint64_t, 3>{0, 0, 0}));
  account.fetched({0}, {kAccounted});
  EXPECT_EQ(hits_late_wasted(account), (std::array<std::uint64_t, 3>{kAccounted, 0, 0}));
  run_prefetch(account, {10 * kAccounted}, {100});  // the last block is shorter
  EXPECT_EQ(hits_late_wasted(account), (std::array<std::uint64_t, 3>{kAccounted, 0, 100}));
}

TEST(PrefetchAccount, OfALayerHearsOfReadsThatSomebodyWaitsFor) {
  const auto account = std::make_shared<PrefetchAccount>(nullptr, Bytes{10 * kAccounted});
  const AccountedLayer layer(test::blob_of(test::Data(10 * kAccounted)), account);
  run_prefetch(*account, {0}, {2 * kAccounted});
  test::Data out(10);
  must(layer.read_at({0}, out, {.stop = {}, .read_class = ReadClass::kPrefetch}));
  EXPECT_EQ(hits_late_wasted(*account), (std::array<std::uint64_t, 3>{0, 0, 2 * kAccounted}));
  must(layer.read_at({0}, out, {}));
  EXPECT_EQ(hits_late_wasted(*account), (std::array<std::uint64_t, 3>{kAccounted, 0, kAccounted}));
}

}  // namespace
}  // namespace dadi::runtime
