// Little-endian fields at byte offsets: the way every on-disk structure is read and written. No packed structs.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstring>
#include <span>

namespace dadi {

// The unsigned integer at `offset`. REQUIRES: it lies within `data`.
template <std::unsigned_integral T>
T load_le(std::span<const std::byte> data, std::size_t offset) {
  static_assert(std::endian::native == std::endian::little, "add a byte swap for this machine");
  T value;
  std::memcpy(&value, data.subspan(offset, sizeof value).data(), sizeof value);
  return value;
}

// Stores `value` at `offset`. REQUIRES: it lies within `data`.
template <std::unsigned_integral T>
void store_le(std::span<std::byte> data, std::size_t offset, T value) {
  static_assert(std::endian::native == std::endian::little, "add a byte swap for this machine");
  std::memcpy(data.subspan(offset, sizeof value).data(), &value, sizeof value);
}

}  // namespace dadi
