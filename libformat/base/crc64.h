// CRC-64 (ECMA-182, reflected, inverted at both ends: "CRC-64/XZ").
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace dadi {

// Of "123456789" it is 0x995DC9BBDF1939FA. Thread-safe.
std::uint64_t crc64(std::span<const std::byte> data);

}  // namespace dadi
