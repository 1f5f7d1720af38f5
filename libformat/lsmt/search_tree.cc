#include "libformat/lsmt/search_tree.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace dadi::lsmt {

namespace {

// How many keys of a node are not above `value`. A loop of fixed length that compilers turn into vector instructions.
template <typename Key, std::size_t N>
std::size_t rank_portable(const std::array<Key, N>& keys, Key value) {
  Key above = 0;
  for (const Key key : keys) above += static_cast<Key>(key > value);
  return N - static_cast<std::size_t>(above);
}

#if defined(__x86_64__)

#define DADI_AVX2 __attribute__((target("avx2,popcnt")))

DADI_AVX2 inline std::size_t rank_avx2(const std::array<std::int32_t, 16>& keys, std::int32_t value) {
  const auto* halves = reinterpret_cast<const __m256i*>(keys.data());
  const __m256i wanted = _mm256_set1_epi32(value);
  const __m256i above = _mm256_packs_epi32(_mm256_cmpgt_epi32(_mm256_load_si256(halves), wanted),
                                           _mm256_cmpgt_epi32(_mm256_load_si256(halves + 1), wanted));
  // Two bits a key that is above; their order does not matter.
  return 16 - static_cast<std::size_t>(_mm_popcnt_u32(static_cast<unsigned>(_mm256_movemask_epi8(above)))) / 2;
}

DADI_AVX2 inline std::size_t rank_avx2(const std::array<std::int64_t, 8>& keys, std::int64_t value) {
  const auto* halves = reinterpret_cast<const __m256i*>(keys.data());
  const __m256i wanted = _mm256_set1_epi64x(value);
  const __m256i above = _mm256_packs_epi32(_mm256_cmpgt_epi64(_mm256_load_si256(halves), wanted),
                                           _mm256_cmpgt_epi64(_mm256_load_si256(halves + 1), wanted));
  // Four bits a key that is above.
  return 8 - static_cast<std::size_t>(_mm_popcnt_u32(static_cast<unsigned>(_mm256_movemask_epi8(above)))) / 4;
}

#endif

}  // namespace

// From the root down: the rank in a node is which of its children is next, and at the bottom which key.
#define DADI_DESCEND(rank)                                     \
  std::size_t at = 0;                                          \
  for (std::size_t level = levels.levels; level-- > 0;) {      \
    const auto& node = levels.nodes[levels.first[level] + at]; \
    at = at * Levels<Key>::kKeys + rank(node.keys, value);     \
  }                                                            \
  return at

template <typename Key>
std::size_t SearchTree::search_portable(const Levels<Key>& levels, Key value) {
  DADI_DESCEND(rank_portable);
}

#if defined(__x86_64__)

template <typename Key>
DADI_AVX2 std::size_t SearchTree::search_avx2(const Levels<Key>& levels, Key value) {
  DADI_DESCEND(rank_avx2);
}

SearchTree::Instructions SearchTree::best() {
  static const Instructions best = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt")
                                       ? Instructions::kAvx2
                                       : Instructions::kPortable;
  return best;
}

#else

template <typename Key>
std::size_t SearchTree::search_avx2(const Levels<Key>& levels, Key value) {
  return search_portable(levels, value);
}

SearchTree::Instructions SearchTree::best() {
  return Instructions::kPortable;
}

#endif

std::size_t SearchTree::upper_bound(std::uint64_t value, Instructions with) const {
  const auto search = [&](const auto& levels) {
    using Key = typename std::decay_t<decltype(levels.nodes[0].keys)>::value_type;
    return with == Instructions::kAvx2 ? search_avx2<Key>(levels, static_cast<Key>(value))
                                       : search_portable<Key>(levels, static_cast<Key>(value));
  };
  if (const auto* narrow = std::get_if<Levels<std::int32_t>>(&levels_)) return search(*narrow);
  return search(*std::get_if<Levels<std::int64_t>>(&levels_));
}

}  // namespace dadi::lsmt
