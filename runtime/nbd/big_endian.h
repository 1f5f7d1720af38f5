// Integers in network byte order, at byte offsets.
#pragma once

#include "libformat/base/endian.h"

namespace dadi::nbd {

template <std::unsigned_integral T>
constexpr T big_endian(T value) {
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
  return value;
}

// The integer at `offset`. REQUIRES: it lies within `data`.
template <std::unsigned_integral T>
T load_be(std::span<const std::byte> data, std::size_t offset) {
  return big_endian(load_le<T>(data, offset));
}

// Stores `value` at `offset`. REQUIRES: it lies within `data`.
template <std::unsigned_integral T>
void store_be(std::span<std::byte> data, std::size_t offset, T value) {
  store_le(data, offset, big_endian(value));
}

}  // namespace dadi::nbd
