// Names of layers. Format: formats.md, section 1.1.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "libformat/base/digest.h"
#include "libformat/base/result.h"

namespace dadi::lsmt {

// 16 bytes, in the order of their text. Default: the null uuid, which stands for "none". A value type.
struct Uuid {
  std::array<std::byte, 16> raw{};

  // From 36 characters, as in "C02FB491-B4D4-4904-8684-A014D032AF78", in either case. What stands between the groups is
  // not looked at beyond being a dash or a hex digit: the reference does the same.
  // Errors: invalid_argument.
  static Result<Uuid> parse(std::string_view text);
  // The first 32 hex digits of a digest: how a layer is named after its chain id.
  static Uuid of(const Digest& digest);

  std::string to_string() const;  // upper case
  bool is_null() const { return *this == Uuid{}; }

  friend auto operator<=>(const Uuid&, const Uuid&) = default;
};

}  // namespace dadi::lsmt
