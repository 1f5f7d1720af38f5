#include "libformat/lsmt/search_tree.h"

#include <algorithm>

#include "tests/format/test_support.h"

namespace dadi::lsmt {
namespace {

using test::below;
using test::Random;
using Instructions = SearchTree::Instructions;

std::vector<Instructions> instructions_here() {
  std::vector<Instructions> all{Instructions::kPortable};
  if (SearchTree::best() != Instructions::kPortable) all.push_back(SearchTree::best());
  return all;
}

void expect_upper_bound(const std::vector<std::uint64_t>& keys, std::uint64_t value) {
  const SearchTree tree(keys.size(), [&](std::size_t i) { return keys[i]; });
  const auto expected = static_cast<std::size_t>(std::upper_bound(keys.begin(), keys.end(), value) - keys.begin());
  for (const Instructions with : instructions_here())
    ASSERT_EQ(tree.upper_bound(value, with), expected)
        << value << " among " << keys.size() << ", instructions " << static_cast<int>(with);
}

// Ascending, some of them equal, the last one `last`.
std::vector<std::uint64_t> random_keys(Random& random, std::size_t count, std::uint64_t last) {
  std::vector<std::uint64_t> keys(count);
  for (auto& key : keys) key = below(random, last + 1);
  std::sort(keys.begin(), keys.end());
  keys.back() = last;
  return keys;
}

constexpr std::uint64_t kNarrow = (std::uint64_t{1} << 31) - 2;  // the largest key that takes four bytes

TEST(SearchTree, EqualsUpperBoundForEverySizeAroundTheBordersOfNodes) {
  std::vector<std::size_t> sizes;
  for (std::size_t size = 1; size <= 300; ++size) sizes.push_back(size);
  for (const std::size_t border : {512, 4096, 16 * 256, 16 * 4096})
    for (std::size_t size = border - 2; size <= border + 2; ++size) sizes.push_back(size);
  Random random(1);
  for (const std::size_t size : sizes) {
    for (const std::uint64_t last :
         {std::uint64_t{40}, kNarrow, kNarrow + 1, kNarrow + 2, (std::uint64_t{1} << 50) - 1}) {
      const auto keys = random_keys(random, size, last);
      const SearchTree tree(keys.size(), [&](std::size_t i) { return keys[i]; });
      for (int i = 0; i < 40; ++i) {
        // Beside a key, or anywhere; 0 and the last possible value among them.
        std::uint64_t value = i % 2 == 0 ? keys[below(random, size)] + below(random, 3) : below(random, last);
        value = i == 0 ? 0 : i == 1 ? last - 1 : std::min(value, last - 1);
        const auto expected =
            static_cast<std::size_t>(std::upper_bound(keys.begin(), keys.end(), value) - keys.begin());
        for (const Instructions with : instructions_here())
          ASSERT_EQ(tree.upper_bound(value, with), expected)
              << value << " among " << size << " up to " << last << ", instructions " << static_cast<int>(with);
      }
    }
  }
}

TEST(SearchTree, FindsEveryKeyAndGapOfADenseList) {
  std::vector<std::uint64_t> keys;
  for (std::uint64_t i = 0; i < 5000; ++i) keys.push_back(2 * i + 1);
  for (std::uint64_t value = 0; value < keys.back(); value += 97) expect_upper_bound(keys, value);
}

TEST(SearchTree, TakesEqualKeysThatFillNodes) {
  std::vector<std::uint64_t> keys(1000, 5);
  keys.push_back(6);
  expect_upper_bound(keys, 5);
  expect_upper_bound(keys, 4);
  expect_upper_bound({1}, 0);
}

}  // namespace
}  // namespace dadi::lsmt
