#include "runtime/device/block_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <thread>

#include "tests/format/test_support.h"

namespace dadi::runtime {
namespace {

using test::Data;
using test::must;
using test::Random;
using Worth = BlockCache::Worth;
using Key = BlockCache::Key;

constexpr std::size_t kBlock = 4096;

Data block_of(Key key) {
  Random random(key.layer * 1000003 + key.block);
  return test::random_bytes(random, kBlock);
}

bool holds(BlockCache& cache, Key key) {
  Data out(kBlock);
  return cache.read(key, 0, out) && out == block_of(key);
}

TEST(BlockCache, GivesWhatItWasOfferedWholeOrInPart) {
  const auto cache = must(BlockCache::create({1U << 20}, kBlock));
  const Data block = block_of({3, 7});
  cache->offer({3, 7}, block, Worth::kWaiting);
  Data out(100);
  ASSERT_TRUE(cache->read({3, 7}, 1000, out));
  EXPECT_TRUE(std::equal(out.begin(), out.end(), block.begin() + 1000));
  EXPECT_FALSE(cache->read({3, 8}, 0, out));
  EXPECT_FALSE(cache->read({4, 7}, 0, out));
  EXPECT_EQ(cache->stats().hits, 1U);
  EXPECT_EQ(cache->stats().misses, 1U);
}

TEST(BlockCache, TakesWhatOnlySavesDecodingWhenItIsOfferedAgain) {
  const auto cache = must(BlockCache::create({1U << 20}, kBlock));
  cache->offer({0, 1}, block_of({0, 1}), Worth::kDecoding);
  EXPECT_FALSE(holds(*cache, {0, 1}));
  cache->offer({0, 1}, block_of({0, 1}), Worth::kDecoding);
  EXPECT_TRUE(holds(*cache, {0, 1}));
}

TEST(BlockCache, StaysWithinItsBudgetAndNeverGivesOtherBytes) {
  for (const std::uint64_t budget : {0U, 4096U, 8192U, 40000U, 300000U, 5U << 20}) {
    const auto cache = must(BlockCache::create({budget}, kBlock));
    Random random(budget);
    std::uint64_t hits = 0;
    for (int i = 0; i < 8000; ++i) {
      // Few blocks are wanted often, many seldom.
      const std::uint64_t range = i % 2 == 0 ? 20 : 3000;
      const Key key{test::below(random, 3), test::below(random, range)};
      Data out(kBlock);
      if (cache->read(key, 0, out)) {
        ++hits;
        if (i % 16 == 0) {
          ASSERT_EQ(out, block_of(key));
        }
      } else {
        cache->offer(key, block_of(key), i % 3 == 0 ? Worth::kWaiting : Worth::kDecoding);
      }
    }
    EXPECT_EQ(cache->stats().hits, hits);
    if (budget < 8192) {
      EXPECT_EQ(hits, 0U);
      continue;
    }
    EXPECT_LE(cache->stats().memory, Bytes{budget});
    if (budget >= 300000) {
      EXPECT_GT(hits, 2500U);  // most of those that are wanted often
    }
  }
}

TEST(BlockCache, IsNotWashedOutByAScan) {
  const auto cache = must(BlockCache::create({4U << 20}, kBlock));  // 1000 blocks
  for (int round = 0; round < 3; ++round)
    for (std::uint64_t i = 0; i < 500; ++i)
      if (!holds(*cache, {0, i})) cache->offer({0, i}, block_of({0, i}), Worth::kWaiting);
  const Data block = block_of({1, 0});
  for (std::uint64_t i = 0; i < 20000; ++i) cache->offer({1, i}, block, Worth::kWaiting);
  std::uint64_t left = 0;
  for (std::uint64_t i = 0; i < 500; ++i) left += holds(*cache, {0, i}) ? 1 : 0;
  EXPECT_GT(left, 450U);
}

TEST(BlockCache, GivesItsMemoryBackWhenIdle) {
  using std::chrono::seconds;
  const auto cache = must(BlockCache::create({4U << 20}, kBlock));
  const Bytes empty = cache->stats().memory;
  for (std::uint64_t i = 0; i < 500; ++i) cache->offer({0, i}, block_of({0, i}), Worth::kWaiting);
  EXPECT_GT(cache->stats().memory, Bytes{500 * kBlock});
  std::chrono::steady_clock::time_point now{seconds(1000)};
  EXPECT_TRUE(holds(*cache, {0, 1}));
  cache->trim(now);
  cache->trim(now + seconds(20));
  EXPECT_TRUE(holds(*cache, {0, 1}));
  cache->trim(now + seconds(40));  // it was read since
  EXPECT_TRUE(holds(*cache, {0, 2}));
  cache->trim(now + seconds(50));
  cache->trim(now + seconds(81));
  EXPECT_FALSE(holds(*cache, {0, 1}));
  EXPECT_EQ(cache->stats().memory, empty);
  cache->offer({0, 1}, block_of({0, 1}), Worth::kWaiting);
  EXPECT_TRUE(holds(*cache, {0, 1}));
}

TEST(BlockCache, GivesRightBytesToManyThreads) {
  const auto cache = must(BlockCache::create({200000}, kBlock));
  std::map<std::uint64_t, Data> blocks;
  for (std::uint64_t i = 0; i < 200; ++i) blocks[i] = block_of({0, i});
  std::atomic<int> wrong = 0;
  {
    std::vector<std::jthread> threads;
    for (unsigned seed = 0; seed < 4; ++seed) {
      threads.emplace_back([&, seed] {
        Random random(seed);
        Data out(kBlock);
        for (int i = 0; i < 5000; ++i) {
          const std::uint64_t block = test::below(random, blocks.size());
          if (!cache->read({0, block}, 0, out))
            cache->offer({0, block}, blocks[block], Worth::kWaiting);
          else if (out != blocks[block])
            ++wrong;
          if (i % 1000 == 0 && seed == 0) cache->trim(std::chrono::steady_clock::time_point(std::chrono::hours(i + 1)));
        }
      });
    }
  }
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace dadi::runtime
