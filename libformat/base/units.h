// Sizes and offsets with a unit, so that bytes and sectors cannot be mixed up.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace dadi {

inline constexpr std::uint64_t kSectorSize = 512;

// An unsigned number of things of one kind. Arithmetic wraps as std::uint64_t does: on hostile input use checked_add
// and checked_mul first.
template <typename Tag>
struct Quantity {
  std::uint64_t value = 0;

  friend constexpr auto operator<=>(Quantity, Quantity) = default;
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return {a.value + b.value}; }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return {a.value - b.value}; }
  friend constexpr Quantity operator*(Quantity a, std::uint64_t n) { return {a.value * n}; }
  friend constexpr std::uint64_t operator/(Quantity a, Quantity b) { return a.value / b.value; }
  friend constexpr Quantity operator%(Quantity a, Quantity b) { return {a.value % b.value}; }
  constexpr Quantity& operator+=(Quantity b) { return value += b.value, *this; }
  constexpr Quantity& operator-=(Quantity b) { return value -= b.value, *this; }
};

using Bytes = Quantity<struct BytesTag>;
using Sectors = Quantity<struct SectorsTag>;  // of 512 bytes

constexpr Bytes to_bytes(Sectors sectors) { return {sectors.value * kSectorSize}; }
constexpr Sectors whole_sectors(Bytes bytes) { return {bytes.value / kSectorSize}; }  // rounded down
inline Sectors whole_sectors(std::span<const std::byte> data) { return {data.size() / kSectorSize}; }

constexpr std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) {
  std::uint64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}
constexpr std::optional<std::uint64_t> checked_mul(std::uint64_t a, std::uint64_t b) {
  std::uint64_t product = 0;
  if (__builtin_mul_overflow(a, b, &product)) return std::nullopt;
  return product;
}

// `value` rounded up to a multiple of `unit`. REQUIRES: unit > 0, and the result fits.
constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }
constexpr std::uint64_t divide_up(std::uint64_t value, std::uint64_t unit) {
  return value / unit + (value % unit != 0 ? 1 : 0);
}

}  // namespace dadi
