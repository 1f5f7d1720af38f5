// The hashes that order a directory's index.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace dadi::fs {

// How names are hashed. The algorithms take names byte by byte, and some machines' bytes were signed: a superblock flag
// says which way was used.
struct HtreeHash {
  std::uint8_t version = 0;  // htree::kLegacy, kHalfMd4 or kTea of layout.h
  bool is_signed = true;
  std::array<std::uint32_t, 4> seed = {};  // of the superblock; all zero stands for the algorithm's own
};

// The hash of a name: even, and below 0xFFFFFFFE, which stands for the end of a directory. Half MD4 is the first two
// rounds' worth of RFC 1320's functions over eight words (three rounds of eight steps); TEA is the Tiny Encryption
// Algorithm of Wheeler and Needham with 16 rounds, as a compression function. Thread-safe.
// REQUIRES: a version that is named above.
std::uint32_t htree_hash(const HtreeHash& how, std::string_view name);

}  // namespace dadi::fs
