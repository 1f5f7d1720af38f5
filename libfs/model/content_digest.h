// A digest of a file's content that costs time for its data only, not for its holes: a layer may state a file of 16 TiB
// without a byte in it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "libformat/base/digest.h"
#include "libformat/base/units.h"

namespace dadi::fs {

// The SHA-256 of every block of 4 KiB that is not all zeros, its number (64 bits, little-endian) in front; a last block
// is filled up with zeros. Two files of one size have the same digest if and only if they have the same content,
// however that is divided into data and holes. One thread at a time.
class ContentDigest {
 public:
  // Takes `bytes` at `offset`. REQUIRES: pieces come in ascending order and do not overlap.
  void add(Bytes offset, std::span<const std::byte> bytes);
  // The digest of all that was given.
  Digest finish();

 private:
  static constexpr std::size_t kBlock = 4096;

  void add_block(std::uint64_t number, std::span<const std::byte> block);
  void flush();

  Hasher hasher_;
  std::array<std::byte, kBlock> partial_{};  // a block that pieces fill in part
  std::optional<std::uint64_t> partial_number_;
};

}  // namespace dadi::fs
