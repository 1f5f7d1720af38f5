// Finding a value among millions of ascending keys, with few cache misses and no branch that depends on the value.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <variant>
#include <vector>

#include "libformat/base/units.h"
#include "libformat/lsmt/cache_line_allocator.h"

namespace dadi::lsmt {

// A static B+-tree without pointers: nodes of one cache line each, a level behind the other; a key of an upper level is
// the largest of the node below it. A node is searched as a whole, by vector instructions where the compiler knows
// some; with AVX2 where the processor has it.
//
// Memory: 4.3 bytes a key while the largest is below 2^31, 9.2 bytes from there on. Immutable, hence thread-safe.
class SearchTree {
 public:
  SearchTree() = default;  // of no keys
  // Of `count` keys: key(i) is ascending, equal ones allowed. REQUIRES: keys are below 2^63 - 1.
  template <typename KeyAt>
  SearchTree(std::size_t count, KeyAt key) {
    if (count == 0) return;
    if (key(count - 1) < std::numeric_limits<std::int32_t>::max())
      levels_.emplace<Levels<std::int32_t>>(count, key);
    else
      levels_.emplace<Levels<std::int64_t>>(count, key);
  }

  // Which instructions to search with; every kind gives the same answer.
  enum class Instructions { kPortable, kAvx2 };
  static Instructions best();  // that this processor has

  // How many keys are not above `value`: std::upper_bound's distance from the first.
  // REQUIRES: value is below the last key, and there is one; the processor has the instructions.
  std::size_t upper_bound(std::uint64_t value, Instructions with) const;

 private:
  template <typename Key>
  struct Levels {
    static constexpr std::size_t kKeys = 64 / sizeof(Key);  // in a node
    struct alignas(64) Node {
      std::array<Key, kKeys> keys;
    };

    Levels() : first{}, levels(0) {}
    template <typename KeyAt>
    Levels(std::size_t count, KeyAt key);

    std::vector<Node, CacheLineAllocator<Node>>
        nodes;                          // the bottom level first; keys that a last node lacks are the largest number
    std::array<std::size_t, 24> first;  // node of each level, from the bottom
    std::size_t levels;
  };

  template <typename Key>
  static std::size_t search_portable(const Levels<Key>& levels, Key value);
  template <typename Key>
  static std::size_t search_avx2(const Levels<Key>& levels, Key value);

  std::variant<Levels<std::int32_t>, Levels<std::int64_t>> levels_;
};

template <typename Key>
template <typename KeyAt>
SearchTree::Levels<Key>::Levels(std::size_t count, KeyAt key) : Levels() {
  std::size_t all = 0;
  for (std::size_t width = count; levels == 0 || width > 1; ++levels) {
    first[levels] = all;
    width = divide_up(width, kKeys);
    all += width;
  }
  nodes.resize(all);
  for (Node& node : nodes) node.keys.fill(std::numeric_limits<Key>::max());
  for (std::size_t i = 0; i < count; ++i) nodes[i / kKeys].keys[i % kKeys] = static_cast<Key>(key(i));
  for (std::size_t level = 1; level < levels; ++level) {
    const std::size_t below = first[level] - first[level - 1];
    for (std::size_t i = 0; i < below; ++i)
      nodes[first[level] + i / kKeys].keys[i % kKeys] = nodes[first[level - 1] + i].keys.back();
  }
}

}  // namespace dadi::lsmt
