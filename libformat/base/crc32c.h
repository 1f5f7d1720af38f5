// The raw CRC-32C (Castagnoli, reflected, no final xor) that ZFile and traces use. Source: formats.md, section 2.2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace dadi {

// The register after `data`, from register `crc`. crc32c_raw("123456789") is 0x58E3FA20. Thread-safe.
std::uint32_t crc32c_raw(std::span<const std::byte> data, std::uint32_t crc = 0);

}  // namespace dadi
