#include "libfs/ext4/htree_hash.h"

#include <algorithm>
#include <bit>
#include <span>

#include "libfs/ext4/layout.h"

namespace dadi::fs {
namespace {

using State = std::array<std::uint32_t, 4>;

std::uint32_t letter(char byte, bool is_signed) {
  const auto value = static_cast<unsigned char>(byte);
  return is_signed ? static_cast<std::uint32_t>(static_cast<signed char>(value)) : std::uint32_t{value};
}

// Packs the beginning of what is left of a name into words, and fills up with its length in every byte. Letters are
// added, not or-ed, so that the bits of negative ones spread: part of the format now.
void pack(std::string_view rest, bool is_signed, std::span<std::uint32_t> words) {
  std::uint32_t padding = static_cast<std::uint32_t>(rest.size()) | static_cast<std::uint32_t>(rest.size()) << 8;
  padding |= padding << 16;
  std::ranges::fill(words, padding);
  const std::size_t size = std::min(rest.size(), words.size() * 4);
  for (std::size_t i = 0; i < size; ++i) {
    std::uint32_t& word = words[i / 4];
    word = (word << 8) + letter(rest[i], is_signed);
  }
}

// One round of half MD4: eight steps over the words in `order`, with four rotations in turn.
template <typename Function>
void half_md4_round(State& s, std::span<const std::uint32_t> words, const std::array<std::uint8_t, 8>& order,
                    const std::array<int, 4>& rotations, std::uint32_t constant, Function function) {
  for (std::size_t i = 0; i < order.size(); ++i) {
    // Registers take turns as the target: a, d, c, b.
    std::uint32_t& target = s[(4 - i % 4) % 4];
    const std::uint32_t x = s[(5 - i % 4) % 4];
    const std::uint32_t y = s[(6 - i % 4) % 4];
    const std::uint32_t z = s[(7 - i % 4) % 4];
    target = std::rotl(target + function(x, y, z) + words[order[i]] + constant, rotations[i % 4]);
  }
}

void half_md4(State& state, std::span<const std::uint32_t> words) {
  State s = state;
  half_md4_round(s, words, {0, 1, 2, 3, 4, 5, 6, 7}, {3, 7, 11, 19}, 0,
                 [](auto x, auto y, auto z) { return z ^ (x & (y ^ z)); });
  half_md4_round(s, words, {1, 3, 5, 7, 0, 2, 4, 6}, {3, 5, 9, 13}, 0x5A827999,
                 [](auto x, auto y, auto z) { return (x & y) + ((x ^ y) & z); });
  half_md4_round(s, words, {3, 7, 2, 6, 1, 5, 0, 4}, {3, 9, 11, 15}, 0x6ED9EBA1,
                 [](auto x, auto y, auto z) { return x ^ y ^ z; });
  for (std::size_t i = 0; i < s.size(); ++i) state[i] += s[i];
}

void tea(State& state, std::span<const std::uint32_t> key) {
  constexpr std::uint32_t kDelta = 0x9E3779B9;
  std::uint32_t low = state[0];
  std::uint32_t high = state[1];
  std::uint32_t sum = 0;
  for (int round = 0; round < 16; ++round) {
    sum += kDelta;
    low += ((high << 4) + key[0]) ^ (high + sum) ^ ((high >> 5) + key[1]);
    high += ((low << 4) + key[2]) ^ (low + sum) ^ ((low >> 5) + key[3]);
  }
  state[0] += low;
  state[1] += high;
}

std::uint32_t legacy(std::string_view name, bool is_signed) {
  std::uint32_t hash0 = 0x12A3FE2D;
  std::uint32_t hash1 = 0x37ABE8F9;
  for (const char byte : name) {
    std::uint32_t hash = hash1 + (hash0 ^ letter(byte, is_signed) * 7152373);
    if ((hash & 0x80000000) != 0) hash -= 0x7FFFFFFF;
    hash1 = hash0;
    hash0 = hash;
  }
  return hash0 << 1;
}

}  // namespace

std::uint32_t htree_hash(const HtreeHash& how, std::string_view name) {
  constexpr std::uint32_t kEnd = 0xFFFFFFFE;
  State state = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476};
  if (std::ranges::any_of(how.seed, [](std::uint32_t word) { return word != 0; })) state = how.seed;

  const bool is_tea = how.version == layout::htree::kTea;
  std::array<std::uint32_t, 8> words = {};
  const auto piece = std::span(words).first(is_tea ? 4 : 8);
  std::uint32_t hash = 0;
  if (how.version == layout::htree::kLegacy) {
    hash = legacy(name, how.is_signed);
  } else {
    for (std::string_view rest = name; !rest.empty(); rest.remove_prefix(std::min(rest.size(), piece.size() * 4))) {
      pack(rest, how.is_signed, piece);
      is_tea ? tea(state, piece) : half_md4(state, piece);
    }
    hash = is_tea ? state[0] : state[1];
  }
  hash &= ~std::uint32_t{1};
  return hash == kEnd ? kEnd - 2 : hash;
}

}  // namespace dadi::fs
